// Made-up sequences for the tests of KV pages: their numbers, their pages of every kind made by the
// scalar specification, and attention over them in double precision.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <deque>
#include <optional>
#include <random>
#include <vector>

#include "kernels/cuda/kv_layout_inl.h"
#include "kernels/cuda/kv_pages.h"
#include "kernels/kv_split_inl.h"
#include "tests/cuda/device_array.h"

namespace lynx::testing {

using Bytes = std::vector<std::byte>;

// A page's numbers, [K, V][kv_heads][64 tokens][head_dim]: those of a BF16 page in memory.
class PageNumbers {
 public:
  // All NaN: tokens that are not set later hold no valid number.
  explicit PageNumbers(KvShape shape)
      : shape_(shape), numbers_(Bf16PageBytes(shape) / sizeof(bf16), bf16{0xffff}) {}
  KvShape shape() const { return shape_; }
  bf16& at(KvSide side, int head, int token, int channel) {
    return numbers_[cuda::Bf16Index(shape_, side, head, token, channel)];
  }
  bf16 at(KvSide side, int head, int token, int channel) const {
    return numbers_[cuda::Bf16Index(shape_, side, head, token, channel)];
  }
  Bytes bytes() const {
    Bytes bytes(numbers_.size() * sizeof(bf16));
    std::memcpy(bytes.data(), numbers_.data(), bytes.size());
    return bytes;
  }

 private:
  KvShape shape_;
  std::vector<bf16> numbers_;
};

// f(side, head, channel) for all groups of a page.
template <class Function>
void ForGroups(KvShape shape, const Function& f) {
  for (int head = 0; head < shape.kv_heads; ++head) {
    for (KvSide side : {KvSide::kKey, KvSide::kValue}) {
      for (int c = 0; c < shape.head_dim; ++c) f(side, head, c);
    }
  }
}

// A group's numbers in the code, by the specification.
struct CodedGroup {
  bf16 lo{};
  int k = 0;
  int codes[kPageTokens] = {};
};
// Nullopt: the group has no code.
inline std::optional<CodedGroup> CodeGroup(const PageNumbers& page, KvSide side, int head, int c,
                                           int first_token) {
  uint16_t min = 0xffff, max = 0;
  for (int t = first_token; t < kPageTokens; ++t) {
    const bf16 x = page.at(side, head, t, c);
    if (!IsFinite(x)) return std::nullopt;
    min = std::min(min, ToOrdered(x));
    max = std::max(max, ToOrdered(x));
  }
  CodedGroup group{.lo = FromOrdered(min)};
  group.k = GroupStepCode(ToFloat(group.lo), ToFloat(FromOrdered(max)));
  if (group.k > kMaxStep) return std::nullopt;
  for (int t = first_token; t < kPageTokens; ++t) {
    group.codes[t] =
        Quantize(ToFloat(page.at(side, head, t, c)), ToFloat(group.lo), StepOf(group.k));
  }
  return group;
}

struct CodeBlocks {
  Bytes anchor, residual;
};

// Bits [place, place + width) of a code to where a sub-plane at byte `base` of `block` has them.
inline void PutBits(Bytes& block, size_t base, int head_dim, KvSide side, int width, int token,
                    int channel, unsigned field) {
  const int bit = cuda::CodeBit(head_dim, side, width, token, channel);
  block.at(base + bit / 8) |= static_cast<std::byte>(field << bit % 8);
}

// The blocks of a page, bit by bit; nullopt if it is raw.
inline std::optional<CodeBlocks> CodePage(const PageNumbers& page, KvSplit split, int first_token) {
  const KvShape shape = page.shape();
  const int d = shape.head_dim;
  CodeBlocks blocks{Bytes(AnchorBlockBytes(shape, split)), Bytes(ResidualBlockBytes(shape, split))};
  bool raw = false;
  // Puts bits [place, place + bits) of a code into the plane at `base`.
  const auto put_plane = [&](Bytes& block, size_t base, KvSide side, int bits, int place, int t,
                             int c, unsigned code) {
    for (int width = 8; width > 0; width /= 2) {
      if ((bits & width) == 0) continue;
      bits -= width;
      PutBits(block, base, d, side, width, t, c, code >> (place + bits) & ((1u << width) - 1));
      base += PlaneBytes(d, side, width);
    }
  };
  ForGroups(shape, [&](KvSide side, int head, int c) {
    const auto group = CodeGroup(page, side, head, c, first_token);
    raw = raw || !group;
    if (raw) return;
    const std::byte* origin = blocks.anchor.data();
    const CodePart part = FindCodePart(shape, split, head, side, origin, blocks.residual.data());
    const int rest = kCodeBits - part.anchor_bits;
    std::memcpy(blocks.anchor.data() + (part.lo - origin) + 2 * c, &group->lo, 2);
    blocks.anchor[static_cast<size_t>(part.k - origin + c)] = static_cast<std::byte>(group->k);
    for (int t = first_token; t < kPageTokens; ++t) {
      const auto code = static_cast<unsigned>(group->codes[t]);
      put_plane(blocks.anchor, static_cast<size_t>(part.anchor - origin), side, part.anchor_bits,
                rest, t, c, code);
      if (rest > 0) {
        put_plane(blocks.residual, static_cast<size_t>(part.residual - blocks.residual.data()),
                  side, rest, 0, t, c, code);
      }
    }
  });
  if (raw) return std::nullopt;
  return blocks;
}

// A page with K's channels far from zero, as real models have them, for tokens [0, tokens).
inline PageNumbers RandomPage(KvShape shape, int tokens, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  PageNumbers page(shape);
  ForGroups(shape, [&](KvSide side, int head, int c) {
    const bool key = side == KvSide::kKey;
    const float center = key ? 3 * normal(rng) : 0.25f, width = key ? 1.0f : 0.5f;
    for (int t = 0; t < kPageTokens; ++t) {
      const bf16 x = ToBf16(center + width * normal(rng));
      if (t < tokens) page.at(side, head, t, c) = x;
    }
  });
  return page;
}

// Packed tokens [begin, end) of a page.
inline Bytes Packed(const PageNumbers& page, int begin, int end) {
  const KvShape shape = page.shape();
  Bytes bytes(PackedTokenBytes(shape) * static_cast<size_t>(end - begin));
  ForGroups(shape, [&](KvSide side, int head, int c) {
    for (int t = begin; t < end; ++t) {
      const bf16 x = page.at(side, head, t, c);
      std::memcpy(bytes.data() + PackedTokenBytes(shape) * static_cast<size_t>(t - begin) +
                      2 * cuda::PackedIndex(shape, side, head, c),
                  &x, 2);
    }
  });
  return bytes;
}

}  // namespace lynx::testing
