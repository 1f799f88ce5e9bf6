// Elementary functions of the exact arithmetic, for host and device: every rounding is written down
// (explicit fused multiply-adds, no libm), so that each backend and each CPU tier gives the same
// bits for the same input.
//
// Exp is a template over the "float" it computes with: plain float here, a vector of lanes in
// kernels/cpu/simd.h. A vector lane therefore has the scalar function's bits by construction.
//
// Everything is `static`: a tier's file compiles these functions with its own instruction set, and
// no other file may be linked to that copy.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

#include "runtime/bf16.h"

#define LYNX_EXACT static inline LYNX_HOST_DEVICE

namespace lynx {

// a * b + c, rounded once.
LYNX_EXACT float Fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
LYNX_EXACT double Fma(double a, double b, double c) { return __builtin_fma(a, b, c); }

// a < b ? x : y, for every lane of a vector; false if a or b is NaN.
LYNX_EXACT float IfLess(float a, float b, float x, float y) { return a < b ? x : y; }

// kRoundToInt + v holds rint(v) in its low mantissa bits, for |v| < 2^22.
inline constexpr float kRoundToInt = 12582912.0f;  // 1.5 * 2^23

// y * 2^n where `shifted` = kRoundToInt + n, for n in [-252, 254]: in two steps, because 2^128 is
// no float.
LYNX_EXACT float ScaleByPowerOfTwo(float y, float shifted) {
  const int32_t n =
      static_cast<int32_t>(std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(kRoundToInt));
  const int32_t half = n >> 1;
  const uint32_t first = static_cast<uint32_t>(half) + 127u;
  const uint32_t second = static_cast<uint32_t>(n) - static_cast<uint32_t>(half) + 127u;
  return y * std::bit_cast<float>(first << 23) * std::bit_cast<float>(second << 23);
}

// e^x within 1 ulp. Below -87.33, where the result would come near the denormals, exactly 0; above
// ln(FLT_MAX) infinity; NaN stays NaN.
template <typename F>
LYNX_EXACT F ExpOf(F x) {
  // x = n ln 2 + r, |r| <= ln(2) / 2; ln 2 in two parts, so that n ln 2 is taken off almost
  // exactly.
  const F shifted = Fma(x, F(0x1.715476p+0f), F(kRoundToInt));
  const F n = shifted - F(kRoundToInt);
  F r = Fma(n, F(-0x1.62e430p-1f), x);
  r = Fma(n, F(0x1.05c610p-29f), r);
  // e^r = 1 + r + r^2 p(r): minimax, relative error 0.05 ulp.
  F p = F(0x1.6a2350p-10f);
  p = Fma(p, r, F(0x1.123a6cp-7f));
  p = Fma(p, r, F(0x1.5558f4p-5f));
  p = Fma(p, r, F(0x1.555490p-3f));
  p = Fma(p, r, F(0x1.fffffcp-2f));
  const F y = Fma(p, r * r, r) + F(1.0f);
  F result = ScaleByPowerOfTwo(y, shifted);
  result = IfLess(x, F(-87.33f), F(0.0f), result);
  return IfLess(F(0x1.62e42ep+6f), x, F(std::numeric_limits<float>::infinity()), result);
}

LYNX_EXACT float Exp(float x) { return ExpOf<float>(x); }

// 1 / (1 + e^-x).
template <typename F>
LYNX_EXACT F SigmoidOf(F x) {
  return F(1.0f) / (F(1.0f) + ExpOf<F>(F(0.0f) - x));
}

LYNX_EXACT float Sigmoid(float x) { return SigmoidOf<float>(x); }

// ln x within 2 ulp. Zero and denormals give -infinity, negative numbers NaN.
LYNX_EXACT float Log(float x) {
  constexpr float kSmallestNormal = 0x1p-126f;
  if (!(x >= kSmallestNormal)) {
    return x > -kSmallestNormal ? -std::numeric_limits<float>::infinity()
                                : std::numeric_limits<float>::quiet_NaN();
  }
  if (x > 0x1.fffffep+127f) return x;
  // x = 2^e m with m in [sqrt(1/2), sqrt(2)).
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  constexpr uint32_t kSqrtHalf = 0x3f3504f3u;
  const int32_t exponent = static_cast<int32_t>(bits - kSqrtHalf) >> 23;
  const float m = std::bit_cast<float>(bits - (static_cast<uint32_t>(exponent) << 23));
  const float e = static_cast<float>(exponent);
  const float f = m - 1.0f;
  // ln(1 + f) = f - f^2 / 2 + f^3 q(f): minimax, relative error 0.02 ulp.
  float q = 0x1.145784p-4f;
  q = Fma(q, f, -0x1.de3c0cp-4f);
  q = Fma(q, f, 0x1.e6f076p-4f);
  q = Fma(q, f, -0x1.fc220ap-4f);
  q = Fma(q, f, 0x1.233768p-3f);
  q = Fma(q, f, -0x1.555c4ep-3f);
  q = Fma(q, f, 0x1.99a4b6p-3f);
  q = Fma(q, f, -0x1.000006p-2f);
  q = Fma(q, f, 0x1.555548p-2f);
  const float f2 = f * f;
  float tail = Fma(f * f2, q, e * -0x1.05c610p-29f);
  tail = Fma(f2, -0.5f, tail);
  return Fma(e, 0x1.62e430p-1f, f + tail);
}

struct SinCosResult {
  double sin, cos;
};

// Sine and cosine within 1 ulp or so for |x| <= 1e6 (rotary angles: position times frequency).
LYNX_EXACT SinCosResult SinCos(double x) {
  // x = n pi/2 + r. n * (pi/2 rounded) is subtracted exactly (its bits end where x's do), then
  // pi/2's remainder.
  constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52
  const double shifted = Fma(x, 0x1.45f306dc9c883p-1, kRound);
  const double n = shifted - kRound;
  double r = Fma(n, -0x1.921fb54442d18p+0, x);
  r = Fma(n, -0x1.1a62633145c07p-54, r);
  r = Fma(n, 0x1.f1976b7ed8fbcp-110, r);
  const double z = r * r;
  // Taylor: the first term left out is below 2^-58 of the result for |r| <= pi/4.
  double s = 1.0 / 355687428096000.0;
  s = Fma(s, z, -1.0 / 1307674368000.0);
  s = Fma(s, z, 1.0 / 6227020800.0);
  s = Fma(s, z, -1.0 / 39916800.0);
  s = Fma(s, z, 1.0 / 362880.0);
  s = Fma(s, z, -1.0 / 5040.0);
  s = Fma(s, z, 1.0 / 120.0);
  s = Fma(s, z, -1.0 / 6.0);
  const double sin = Fma(s * z, r, r);
  double c = 1.0 / 20922789888000.0;
  c = Fma(c, z, -1.0 / 87178291200.0);
  c = Fma(c, z, 1.0 / 479001600.0);
  c = Fma(c, z, -1.0 / 3628800.0);
  c = Fma(c, z, 1.0 / 40320.0);
  c = Fma(c, z, -1.0 / 720.0);
  c = Fma(c, z, 1.0 / 24.0);
  c = Fma(c, z, -0.5);
  const double cos = Fma(c, z, 1.0);
  switch (std::bit_cast<uint64_t>(shifted) & 3u) {
    case 0:
      return {sin, cos};
    case 1:
      return {cos, -sin};
    case 2:
      return {-sin, -cos};
    default:
      return {-cos, sin};
  }
}

}  // namespace lynx
