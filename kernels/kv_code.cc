#include "kernels/kv_code.h"

#include <algorithm>
#include <cstring>

#include "kernels/code_planes_inl.h"
#include "kernels/cpu/scratch.h"
#include "kernels/kv_split_inl.h"

namespace lynx {
namespace {

// Codes of one head's side as the planes have them: [rows][lanes], rows padded to a multiple of 8.
struct CodeBlock {
  int head_dim;
  KvSide side;
  uint8_t* codes;

  int lanes() const { return LaneBytes(head_dim, side); }
  int rows() const { return side == KvSide::kKey ? PaddedChannels(head_dim) : kPageTokens; }
  uint8_t& at(int token, int channel) const {
    return side == KvSide::kKey ? codes[channel * kPageTokens + token]
                                : codes[token * head_dim + channel];
  }
};

class SideSplitter {
 public:
  SideSplitter(const SplitPageArgs& args, int head, KvSide side, uint8_t* codes)
      : args_(args),
        head_(head),
        block_{args.shape.head_dim, side, codes},
        part_(FindCodePart(args.shape, args.split, head, side, args.anchor, args.residual)),
        page_(reinterpret_cast<const bf16*>(args.page)) {}

  // False if the side has no code.
  bool Run() {
    std::memset(block_.codes, 0, static_cast<size_t>(block_.rows()) * block_.lanes());
    for (int c = 0; c < block_.head_dim; ++c) {
      if (!SplitGroup(c)) return false;
    }
    const int rest = kCodeBits - part_.anchor_bits;
    WritePlane(Mutable(part_.anchor), part_.anchor_bits, rest);
    if (rest > 0) WritePlane(Mutable(part_.residual), rest, 0);
    return true;
  }

 private:
  static std::byte* Mutable(const std::byte* p) { return const_cast<std::byte*>(p); }

  bf16 At(int token, int channel) const {
    return page_[ElementIndex(args_.shape, block_.side, head_, token, channel)];
  }

  bool SplitGroup(int c) {
    uint16_t min = 0xffff, max = 0;
    for (int t = args_.first_token; t < kPageTokens; ++t) {
      const uint16_t ordered = ToOrdered(At(t, c));
      min = std::min(min, ordered);
      max = std::max(max, ordered);
    }
    // Infinities and NaNs lie outside the finite numbers in this order.
    if (min < kOrderedMin || max > kOrderedMax) return false;
    const bf16 lo = FromOrdered(min);
    const float low = ToFloat(lo);
    const int k = GroupStepCode(low, ToFloat(FromOrdered(max)));
    if (k > kMaxStep) return false;
    std::memcpy(Mutable(part_.lo) + 2 * c, &lo.bits, 2);
    Mutable(part_.k)[c] = static_cast<std::byte>(k);
    const float step = StepOf(k);
    for (int t = args_.first_token; t < kPageTokens; ++t) {
      block_.at(t, c) = static_cast<uint8_t>(Quantize(ToFloat(At(t, c)), low, step));
    }
    return true;
  }

  // Bits [place, place + bits) of all codes into a plane.
  void WritePlane(std::byte* plane, int bits, int place) const {
    SubPlanes planes;
    AddPlane(block_.head_dim, block_.side, plane, bits, place, &planes);
    for (int i = 0; i < planes.count; ++i) WriteSubPlane(planes.list[i]);
  }

  void WriteSubPlane(const SubPlane& plane) const {
    const int per_byte = 8 / plane.width, lanes = block_.lanes();
    const unsigned mask = (1u << plane.width) - 1;
    std::byte* out = Mutable(plane.base);
    for (int row = 0; row < block_.rows(); row += per_byte, out += lanes) {
      for (int lane = 0; lane < lanes; ++lane) {
        unsigned byte = 0;
        for (int f = 0; f < per_byte; ++f) {
          const unsigned code = block_.codes[(row + f) * lanes + lane];
          byte |= (code >> plane.place & mask) << (f * plane.width);
        }
        out[lane] = static_cast<std::byte>(byte);
      }
    }
  }

  const SplitPageArgs& args_;
  const int head_;
  const CodeBlock block_;
  const CodePart part_;
  const bf16* const page_;
};

}  // namespace

SplitResult SplitPage(const SplitPageArgs& args) {
  const int d = args.shape.head_dim;
  auto* codes = reinterpret_cast<uint8_t*>(
      ThreadScratch(static_cast<size_t>(PaddedChannels(d)) * kPageTokens));
  for (int head = 0; head < args.shape.kv_heads; ++head) {
    for (KvSide side : {KvSide::kKey, KvSide::kValue}) {
      if (!SideSplitter(args, head, side, codes).Run()) return SplitResult::kRaw;
    }
  }
  return SplitResult::kCode;
}

void JoinCodes(KvShape shape, KvSplit split, const std::byte* anchor, const std::byte* residual,
               uint8_t* codes) {
  for (KvSide side : {KvSide::kKey, KvSide::kValue}) {
    for (int head = 0; head < shape.kv_heads; ++head) {
      const CodePart part = FindCodePart(shape, split, head, side, anchor, residual);
      const SubPlanes planes = FindSubPlanes(shape.head_dim, side, part, /*full=*/true);
      const int lanes = LaneBytes(shape.head_dim, side);
      for (int c = 0; c < shape.head_dim; ++c) {
        for (int t = 0; t < kPageTokens; ++t) {
          const bool key = side == KvSide::kKey;
          *codes++ = static_cast<uint8_t>(ReadCode(planes, key ? c : t, key ? t : c, lanes));
        }
      }
    }
  }
}

}  // namespace lynx
