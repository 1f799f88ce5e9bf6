// Code planes and groups of one head to what the attention loops read. Included by the tiers' files
// only; the unnamed namespace keeps each tier's instructions in its file.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <utility>

#include "kernels/code_planes_inl.h"
#include "kernels/kv_split_inl.h"

namespace lynx {
namespace {

constexpr std::array<float, 256> kStepTable = [] {
  std::array<float, 256> table{};
  for (int k = kMinStep; k <= kMaxStep; ++k) table[static_cast<size_t>(k - kMinStep)] = StepOf(k);
  return table;
}();

// step[c] and offset[c] of `d` groups; `bits` as for ScaleOf.
template <class S>
void UnpackGroups(const CodePart& part, int d, int bits, float* step, float* offset) {
  using F = typename S::F;
  using lynx::Fma;  // the scalar overload, beside the vectors' in simd.h
  const auto* k = reinterpret_cast<const uint8_t*>(part.k);
  for (int c = 0; c < d; ++c) step[c] = kStepTable[k[c] ^ 0x80u];
  const float bin = static_cast<float>(1 << (kCodeBits - bits));
  for (int c = 0; c < d; c += S::kLanes) {
    const F s = S::Load(step + c);
    const F lo = S::LoadBf16(part.lo + 2 * c);
    S::Store(step + c, s * F(bin));
    S::Store(offset + c, Fma(s, F((bin - 1.0f) * 0.5f), lo));
  }
}

// Byte lanes in a general register. Shifts let bits cross into the next byte; the caller masks
// them.
template <typename T>
struct Word {
  T v;
  static constexpr int kBytes = sizeof(T);
  static Word Zero() { return {0}; }
  static Word Fill(uint8_t mask) { return {static_cast<T>(mask * 0x0101010101010101u)}; }
  static Word Load(const std::byte* p) {
    T v;
    std::memcpy(&v, p, sizeof(T));
    return {v};
  }
  void Store(uint8_t* p) const { std::memcpy(p, &v, sizeof(T)); }
  // To higher bits if kBits > 0, else to lower ones.
  template <int kBits>
  Word Shift() const {
    if constexpr (kBits >= 0) return {static_cast<T>(v << kBits)};
    if constexpr (kBits < 0) return {static_cast<T>(v >> -kBits)};
  }
  friend Word operator|(Word a, Word b) { return {static_cast<T>(a.v | b.v)}; }
  friend Word operator&(Word a, Word b) { return {static_cast<T>(a.v & b.v)}; }
};

// Width and place of the sub-planes of an Anchor of kBits, and of its Residual if kFull: known at
// compile time, so that every shift is an immediate.
template <int kBits, bool kFull>
struct PlaneList {
  static constexpr int kRest = kCodeBits - kBits;
  static constexpr int kCount = std::popcount(static_cast<unsigned>(kBits)) +
                                (kFull ? std::popcount(static_cast<unsigned>(kRest)) : 0);
  struct Spec {
    int width, place;
  };
  static constexpr std::array<Spec, kCount> kSpecs = [] {
    std::array<Spec, kCount> specs{};
    size_t n = 0;
    const auto add = [&](int bits, int place) {
      for (int width = 8; width > 0; width /= 2) {
        if ((bits & width) == 0) continue;
        bits -= width;
        specs[n++] = {width, place + bits};
      }
    };
    add(kBits, kFull ? kRest : 0);
    if (kFull) add(kRest, 0);
    return specs;
  }();
};

template <class Planes, class W>
class BlockUnpacker {
 public:
  // Eight rows of `lanes` bytes, for the W::kBytes lanes from `lane` on.
  [[gnu::always_inline]] static inline void Run(const SubPlanes& planes, int64_t block, int lanes,
                                                int lane, uint8_t* codes) {
    Rows(planes, block, lanes, lane, codes, std::make_integer_sequence<int, 8>{});
  }

 private:
  template <int... kRow>
  [[gnu::always_inline]] static inline void Rows(const SubPlanes& planes, int64_t block, int lanes,
                                                 int lane, uint8_t* codes,
                                                 std::integer_sequence<int, kRow...>) {
    (Row<kRow>(planes, block, lanes, lane, std::make_index_sequence<Planes::kCount>{})
         .Store(codes + (block * 8 + kRow) * lanes + lane),
     ...);
  }
  template <int kRow, size_t... kPlane>
  [[gnu::always_inline]] static inline W Row(const SubPlanes& planes, int64_t block, int lanes,
                                             int lane, std::index_sequence<kPlane...>) {
    return (Field<kRow, kPlane>(planes, block, lanes, lane) | ...);
  }
  template <int kRow, size_t kPlane>
  [[gnu::always_inline]] static inline W Field(const SubPlanes& planes, int64_t block, int lanes,
                                               int lane) {
    constexpr auto kSpec = Planes::kSpecs[kPlane];
    constexpr int kPerByte = 8 / kSpec.width;
    constexpr int kShift = kSpec.place - kRow % kPerByte * kSpec.width;
    const std::byte* row =
        planes.list[kPlane].base + (block * kSpec.width + kRow / kPerByte) * lanes;
    return W::Load(row + lane).template Shift<kShift>() &
           W::Fill(static_cast<uint8_t>(((1 << kSpec.width) - 1) << kSpec.place));
  }
};

template <class S, int kBits, bool kFull>
void UnpackPlanes(const SubPlanes& found, int rows, int lanes, uint8_t* codes) {
  const SubPlanes planes = found;  // which the stores of bytes cannot change
  using Planes = PlaneList<kBits, kFull>;
  using Wide = typename S::Bytes;
  for (int64_t block = 0; block * 8 < rows; ++block) {
    int lane = 0;
    for (; lane + Wide::kBytes <= lanes; lane += Wide::kBytes) {
      BlockUnpacker<Planes, Wide>::Run(planes, block, lanes, lane, codes);
    }
    for (; lane + 8 <= lanes; lane += 8) {
      BlockUnpacker<Planes, Word<uint64_t>>::Run(planes, block, lanes, lane, codes);
    }
    for (; lane < lanes; ++lane) {
      BlockUnpacker<Planes, Word<uint8_t>>::Run(planes, block, lanes, lane, codes);
    }
  }
}

// All integers of one head's side: codes [channels, padded to 8][64] or [64][head_dim].
template <class S>
void UnpackCodes(const CodePart& part, int head_dim, KvSide side, bool full, uint8_t* codes) {
  const SubPlanes planes = FindSubPlanes(head_dim, side, part, full);
  const int rows = side == KvSide::kKey ? head_dim : kPageTokens;
  const int lanes = LaneBytes(head_dim, side);
  const auto unpack = [&](auto bits) {
    constexpr int kBits = decltype(bits)::value;
    if constexpr (kBits < kCodeBits) {
      if (full) return UnpackPlanes<S, kBits, true>(planes, rows, lanes, codes);
    }
    UnpackPlanes<S, kBits, false>(planes, rows, lanes, codes);
  };
  switch (part.anchor_bits) {
    case 3:
      return unpack(std::integral_constant<int, 3>{});
    case 4:
      return unpack(std::integral_constant<int, 4>{});
    case 5:
      return unpack(std::integral_constant<int, 5>{});
    case 6:
      return unpack(std::integral_constant<int, 6>{});
    case 7:
      return unpack(std::integral_constant<int, 7>{});
    default:
      return unpack(std::integral_constant<int, 8>{});
  }
}

}  // namespace
}  // namespace lynx
