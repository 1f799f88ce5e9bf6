// Exponential and logarithm in double for sampling, for host and device: additions, multiplications
// and divisions only, in a fixed order, so every machine and compiler gives the same bits.
// (kernels/math_inl.h has the engine's float versions.)
//
// The exponential is a template over "doubles", plain ones here and lanes of a vector in
// model/sampling_math.cc. `Ops` says how their bits are got at.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/math_inl.h"

namespace lynx {

// ln 2 in two parts; the first has 21 zero bits at its end, so an exponent times it is exact.
inline constexpr double kLn2HighDouble = 0x1.62e42fee00000p-1;
inline constexpr double kLn2LowDouble = 0x1.a39ef35793c76p-33;

inline constexpr double kExpFloor = -708.0;  // e^-708 is the last power of e far from the denormals

struct ScalarDoubleOps {
  using Double = double;
  using Bits = uint64_t;
  LYNX_HOST_DEVICE static Bits ToBits(double x) { return std::bit_cast<uint64_t>(x); }
  LYNX_HOST_DEVICE static double FromBits(Bits bits) { return std::bit_cast<double>(bits); }
  // All ones where x >= floor, else zero.
  LYNX_HOST_DEVICE static Bits AtLeast(double x, double floor) {
    return x >= floor ? ~uint64_t{0} : 0;
  }
};

// e^x within 2 ulp, for x <= 0. Below kExpFloor, and for NaN, 0.
template <typename Ops>
LYNX_HOST_DEVICE __attribute__((always_inline)) inline typename Ops::Double ExpNonPositiveOf(
    typename Ops::Double x) {
  constexpr double kRound = 0x1.8p52;  // kRound + v holds rint(v) in its low mantissa bits
  const auto shifted = x * 0x1.71547652b82fep+0 + kRound;
  const auto n = shifted - kRound;
  const auto r = (x - n * kLn2HighDouble) - n * kLn2LowDouble;
  // Taylor for |r| <= ln(2) / 2: the first term left out is below 2^-57.
  auto p = r * (1.0 / 6227020800.0) + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * (r * r) + r + 1.0;
  // Times 2^n: n's bits go to the exponent.
  const typename Ops::Bits scaled = Ops::ToBits(p) + (Ops::ToBits(shifted) << 52);
  return Ops::FromBits(scaled & Ops::AtLeast(x, kExpFloor));
}

LYNX_EXACT double ExpNonPositive(double x) { return ExpNonPositiveOf<ScalarDoubleOps>(x); }

// ln x within 2 ulp, for finite normal x > 0.
LYNX_EXACT double LogPositive(double x) {
  // x = 2^e m, m in [sqrt(1/2), sqrt(2)).
  constexpr uint64_t kSqrtHalf = 0x3fe6a09e667f3bcdu;
  const uint64_t bits = std::bit_cast<uint64_t>(x);
  const int64_t exponent = static_cast<int64_t>(bits - kSqrtHalf) >> 52;
  const double m = std::bit_cast<double>(bits - (static_cast<uint64_t>(exponent) << 52));
  const double e = static_cast<double>(exponent);
  // ln m = 2 artanh(s), s = (m - 1) / (m + 1), |s| < 0.172: the first term left out is below 2^-57.
  const double f = m - 1.0;
  const double s = f / (2.0 + f);
  const double z = s * s;
  double p = 1.0 / 23;
  p = p * z + 1.0 / 21;
  p = p * z + 1.0 / 19;
  p = p * z + 1.0 / 17;
  p = p * z + 1.0 / 15;
  p = p * z + 1.0 / 13;
  p = p * z + 1.0 / 11;
  p = p * z + 1.0 / 9;
  p = p * z + 1.0 / 7;
  p = p * z + 1.0 / 5;
  p = p * z + 1.0 / 3;
  const double log_m = 2.0 * s + 2.0 * s * z * p;
  return e * kLn2HighDouble + (e * kLn2LowDouble + log_m);
}

}  // namespace lynx
