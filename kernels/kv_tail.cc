// The Tail: for each coded value, group after group in the order [kv_heads][K,
// V][head_dim][tokens], the value's rank within its code's interval, in as many bits as the
// interval needs. Bits fill each byte from the lowest; the last byte is filled up with zeros.
#include <cstring>

#include "kernels/code_planes_inl.h"
#include "kernels/kv_code.h"
#include "kernels/kv_split_inl.h"

namespace lynx {
namespace {

class BitWriter {
 public:
  explicit BitWriter(std::byte* out) : out_(out) {}
  void Put(uint32_t value, int bits) {
    pending_ |= static_cast<uint64_t>(value) << count_;
    for (count_ += bits; count_ >= 8; count_ -= 8, pending_ >>= 8) {
      out_[bytes_++] = static_cast<std::byte>(pending_ & 0xffu);
    }
  }
  // Returns all bytes written.
  size_t Finish() {
    if (count_ > 0) out_[bytes_++] = static_cast<std::byte>(pending_);
    return bytes_;
  }

 private:
  std::byte* out_;
  size_t bytes_ = 0;
  uint64_t pending_ = 0;
  int count_ = 0;
};

class BitReader {
 public:
  explicit BitReader(std::span<const std::byte> in) : in_(in) {}
  // False at the end of the bytes.
  bool Get(int bits, uint32_t* value) {
    while (count_ < bits) {
      if (at_ == in_.size()) return false;
      pending_ |= static_cast<uint64_t>(in_[at_++]) << count_;
      count_ += 8;
    }
    *value = static_cast<uint32_t>(pending_ & ((uint64_t{1} << bits) - 1));
    pending_ >>= bits;
    count_ -= bits;
    return true;
  }
  // Whether all bytes are used and only zeros fill the last one up.
  bool AtEnd() const { return at_ == in_.size() && count_ < 8 && pending_ == 0; }

 private:
  std::span<const std::byte> in_;
  size_t at_ = 0;
  uint64_t pending_ = 0;
  int count_ = 0;
};

// f(part, side, head) -> bool for all sides of all heads in the Tail's order; false as soon as f
// is.
template <class Function>
bool ForSides(KvShape shape, KvSplit split, const std::byte* anchor, const std::byte* residual,
              const Function& f) {
  for (int head = 0; head < shape.kv_heads; ++head) {
    for (KvSide side : {KvSide::kKey, KvSide::kValue}) {
      if (!f(FindCodePart(shape, split, head, side, anchor, residual), side, head)) return false;
    }
  }
  return true;
}

}  // namespace

size_t TailEncode(const TailEncodeArgs& args) {
  const KvShape shape = args.shape;
  const auto* page = reinterpret_cast<const bf16*>(args.page);
  BitWriter writer(args.tail);
  ForSides(shape, args.split, args.anchor, args.residual,
           [&](const CodePart& part, KvSide side, int head) {
             for (int c = 0; c < shape.head_dim; ++c) {
               const bf16 lo = ReadLo(part, c);
               const float step = ReadStep(part, c);
               for (int t = args.first_token; t < kPageTokens; ++t) {
                 const bf16 x = page[ElementIndex(shape, side, head, t, c)];
                 const int code = Quantize(ToFloat(x), ToFloat(lo), step);
                 const TailInterval interval = TailIntervalOf(code, lo, step);
                 writer.Put(static_cast<uint32_t>(ToOrdered(x) - interval.first),
                            TailBits(interval.count));
               }
             }
             return true;
           });
  return writer.Finish();
}

bool TailDecode(const TailDecodeArgs& args) {
  const KvShape shape = args.shape;
  auto* page = reinterpret_cast<bf16*>(args.page);
  BitReader reader(args.tail);
  const bool complete = ForSides(
      shape, args.split, args.anchor, args.residual,
      [&](const CodePart& part, KvSide side, int head) {
        const SubPlanes planes = FindSubPlanes(shape.head_dim, side, part, /*full=*/true);
        const int lanes = LaneBytes(shape.head_dim, side);
        const bool key = side == KvSide::kKey;
        for (int c = 0; c < shape.head_dim; ++c) {
          const bf16 lo = ReadLo(part, c);
          if (!IsFinite(lo)) return false;
          const float step = ReadStep(part, c);
          for (int t = args.first_token; t < kPageTokens; ++t) {
            const int code = ReadCode(planes, key ? c : t, key ? t : c, lanes);
            const TailInterval interval = TailIntervalOf(code, lo, step);
            uint32_t rank;
            if (!reader.Get(TailBits(interval.count), &rank)) return false;
            if (static_cast<int>(rank) >= interval.count) return false;
            page[ElementIndex(shape, side, head, t, c)] =
                FromOrdered(static_cast<uint16_t>(interval.first + static_cast<int>(rank)));
          }
        }
        return true;
      });
  return complete && reader.AtEnd();
}

}  // namespace lynx
