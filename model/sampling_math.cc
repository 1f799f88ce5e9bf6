#include "model/sampling_math.h"

#include <bit>
#include <cstring>

#include "runtime/cpu.h"

namespace lynx {
namespace {

// ln 2 in two parts; the first has 21 zero bits at its end, so an exponent times it is exact.
constexpr double kLn2High = 0x1.62e42fee00000p-1;
constexpr double kLn2Low = 0x1.a39ef35793c76p-33;

using Double4 = double __attribute__((vector_size(32)));
using Long4 = int64_t __attribute__((vector_size(32)));

constexpr double kExpFloor = -708.0;  // e^-708 is the last power of e far from the denormals

// Lane by lane; the same operations whichever registers the compiler takes for them.
__attribute__((always_inline)) inline Double4 Exp4(Double4 x) {
  constexpr double kRound = 0x1.8p52;  // kRound + v holds rint(v) in its low mantissa bits
  const Double4 shifted = x * 0x1.71547652b82fep+0 + kRound;
  const Double4 n = shifted - kRound;
  const Double4 r = (x - n * kLn2High) - n * kLn2Low;
  // Taylor for |r| <= ln(2) / 2: the first term left out is below 2^-57.
  Double4 p = r * (1.0 / 6227020800.0) + 1.0 / 479001600.0;
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
  // Times 2^n: n's bits go to the exponent. Lanes below the floor, and NaN, become zero.
  const Long4 scaled = (Long4)p + ((Long4)shifted << 52);
  return (Double4)(scaled & (Long4)(x >= kExpFloor));
}

__attribute__((always_inline)) inline void ExpSpan(double* x, size_t n) {
  size_t i = 0;
  for (; i + 4 <= n; i += 4) {
    Double4 v;
    std::memcpy(&v, x + i, sizeof(v));
    v = Exp4(v);
    std::memcpy(x + i, &v, sizeof(v));
  }
  if (i == n) return;
  Double4 v = {};
  std::memcpy(&v, x + i, (n - i) * sizeof(double));
  v = Exp4(v);
  std::memcpy(x + i, &v, (n - i) * sizeof(double));
}

void ExpSpanBaseline(double* x, size_t n) { ExpSpan(x, n); }
__attribute__((target("avx2"))) void ExpSpanAvx2(double* x, size_t n) { ExpSpan(x, n); }

}  // namespace

void ExpNonPositive(std::span<double> x) {
  if (DetectCpu().avx2) return ExpSpanAvx2(x.data(), x.size());
  ExpSpanBaseline(x.data(), x.size());
}

double LogPositive(double x) {
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
  constexpr double kOdd[] = {1.0 / 21, 1.0 / 19, 1.0 / 17, 1.0 / 15, 1.0 / 13,
                             1.0 / 11, 1.0 / 9,  1.0 / 7,  1.0 / 5,  1.0 / 3};
  double p = 1.0 / 23;
  for (double c : kOdd) p = p * z + c;
  const double log_m = 2.0 * s + 2.0 * s * z * p;
  return e * kLn2High + (e * kLn2Low + log_m);
}

}  // namespace lynx
