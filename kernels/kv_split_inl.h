// The scalar specification of the code P64 (kv_split.h), for host and device: group range, step, q
// and the Tail's intervals. BF16 numbers are compared as ordered integers, so that -0, denormals
// and the flush-to-zero mode play no part: steps are at least 2^-16, and whatever flushing changes
// is far below.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/math_inl.h"
#include "runtime/bf16.h"

namespace lynx {

inline constexpr int kCodeMax = 255;
inline constexpr int kMinStep = -128;  // k
inline constexpr int kMaxStep = 127;

// A BF16 number as an integer of the same order: -0 directly below +0, NaNs outside the infinities.
LYNX_EXACT uint16_t ToOrdered(bf16 x) {
  return static_cast<uint16_t>((x.bits & 0x8000u) != 0 ? ~x.bits : x.bits | 0x8000u);
}
LYNX_EXACT bf16 FromOrdered(uint16_t o) {
  return {static_cast<uint16_t>((o & 0x8000u) != 0 ? o & 0x7fffu : ~o)};
}
inline constexpr uint16_t kOrderedMax = 0xff7f;  // the largest finite number
inline constexpr uint16_t kOrderedMin = 0x0080;  // the smallest

LYNX_EXACT bool IsFinite(bf16 x) { return (x.bits & 0x7f80u) != 0x7f80u; }

// Mantissa bits of 2^(i / 8), rounded to nearest.
LYNX_EXACT constexpr uint32_t StepMantissa(int i) {
  constexpr uint32_t kMantissa[8] = {0x000000, 0x0b95c2, 0x1837f0, 0x25fed7,
                                     0x3504f3, 0x45672a, 0x5744fd, 0x6ac0c7};
  return kMantissa[i];
}

// 2^(k / 8).
LYNX_EXACT constexpr float StepOf(int k) {
  const int exponent = k >> 3;  // rounds down
  return std::bit_cast<float>((static_cast<uint32_t>(exponent + 127) << 23) | StepMantissa(k & 7));
}

// The smallest k >= kMinStep with StepOf(k) >= step; may be above kMaxStep. step >= 0, not NaN.
LYNX_EXACT int StepCode(float step) {
  const uint32_t bits = std::bit_cast<uint32_t>(step);
  const int exponent = static_cast<int>(bits >> 23) - 127;
  if (exponent < kMinStep / 8) return kMinStep;
  const uint32_t mantissa = bits & 0x7fffffu;
  int i = 0;
  while (i < 8 && StepMantissa(i) < mantissa) ++i;
  return exponent * 8 + i;
}

// Step code of a group from its minimum and maximum.
LYNX_EXACT int GroupStepCode(float lo, float max) { return StepCode((max - lo) / 255.0f); }

// rint((x - lo) / step) before it is clamped to 0..255.
LYNX_EXACT float Rank(float x, float lo, float step) {
  const float ratio = (x - lo) / step;
  // Beyond 2^22 the addition would not round to integers; nothing there fits a code anyway.
  if (!(ratio < 0x1p22f)) return 0x1p22f;
  return (ratio + kRoundToInt) - kRoundToInt;
}

LYNX_EXACT int Quantize(float x, float lo, float step) {
  const float rank = Rank(x, lo, step);
  return rank < 0.0f ? 0 : rank > kCodeMax ? kCodeMax : static_cast<int>(rank);
}

// What a code of `bits` bits (Anchor, or 8: full) stands for: offset + step * integer.
struct CodeScale {
  float step;
  float offset;
};
LYNX_EXACT CodeScale ScaleOf(float lo, float step, int bits) {
  const float bin = static_cast<float>(1 << (8 - bits));
  return {step * bin, Fma(step, (bin - 1.0f) * 0.5f, lo)};
}

// The smallest ordered integer in [ToOrdered(lo), kOrderedMax] whose Rank is at least `rank`, or
// kOrderedMax + 1 if there is none. `lo` is finite. At most some 20 divisions, nearly always 2:
// Rank never falls as x grows, so a guess from the inverse is checked, then searched from by
// halves.
LYNX_EXACT int FirstOfRank(int rank, bf16 lo, float step) {
  const float low = ToFloat(lo);
  const int begin = ToOrdered(lo);
  if (rank <= 0) return begin;
  const auto reaches = [&](int ordered) {
    const float x = ToFloat(FromOrdered(static_cast<uint16_t>(ordered)));
    return Rank(x, low, step) >= static_cast<float>(rank);
  };
  const float guess = Fma(step, static_cast<float>(rank) - 0.5f, low);
  int at = ToOrdered({static_cast<uint16_t>(std::bit_cast<uint32_t>(guess) >> 16)});
  at = at < begin ? begin : at > kOrderedMax ? kOrderedMax : at;
  int below, above;  // !reaches(below), reaches(above), or one beyond the range
  if (reaches(at)) {
    if (at == begin || !reaches(at - 1)) return at;
    below = begin - 1;
    above = at - 1;
  } else {
    if (at == kOrderedMax || reaches(at + 1)) return at + 1;
    below = at + 1;
    above = kOrderedMax + 1;
  }
  while (above - below > 1) {
    const int middle = (above + below) / 2;
    (reaches(middle) ? above : below) = middle;
  }
  return above;
}

// The BF16 numbers that quantize to `code`, as ordered integers [first, first + count).
struct TailInterval {
  int first;
  int count;
};
LYNX_EXACT TailInterval TailIntervalOf(int code, bf16 lo, float step) {
  const int first = FirstOfRank(code, lo, step);
  return {first, FirstOfRank(code + 1, lo, step) - first};
}

// Bits of a rank in 0..count - 1.
LYNX_EXACT int TailBits(int count) {
  int bits = 0;
  while ((1 << bits) < count) ++bits;
  return bits;
}

}  // namespace lynx
