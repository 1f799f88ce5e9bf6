// The elementary functions against libm in double and long double.
#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <random>

#include "kernels/math_inl.h"

namespace lynx {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// Distance in units of the last place of the float nearest to `want`.
double UlpError(float got, double want) {
  const float nearest = static_cast<float>(want);
  const double ulp = std::nextafter(std::fabs(nearest), kInf) - std::fabs(nearest);
  return std::fabs(got - want) / ulp;
}

// The largest error of `f` over floats whose bits lie in [from, to), every `stride`-th.
template <typename F, typename G>
double WorstUlp(F f, G oracle, uint32_t from, uint32_t to, uint32_t stride) {
  double worst = 0;
  for (uint64_t bits = from; bits < to; bits += stride) {
    const float x = std::bit_cast<float>(static_cast<uint32_t>(bits));
    worst = std::max(worst, UlpError(f(x), oracle(static_cast<double>(x))));
  }
  return worst;
}

uint32_t Bits(float x) { return std::bit_cast<uint32_t>(x); }

TEST_CASE("Exp is within 1 ulp over its range") {
  auto oracle = [](double x) { return std::exp(x); };
  constexpr uint32_t kPrime = 1009;
  CHECK(WorstUlp(Exp, oracle, Bits(0.0f), Bits(88.72f), kPrime) < 1.0);
  CHECK(WorstUlp(Exp, oracle, Bits(-0.0f), Bits(-87.32f), kPrime) < 1.0);
}

TEST_CASE("Exp at its edges") {
  CHECK(Exp(0.0f) == 1.0f);
  CHECK(Exp(-0.0f) == 1.0f);
  CHECK(Exp(-kInf) == 0.0f);
  CHECK(Exp(kInf) == kInf);
  CHECK(std::isnan(Exp(std::numeric_limits<float>::quiet_NaN())));
  CHECK(Exp(-87.34f) == 0.0f);
  CHECK(Exp(-1e30f) == 0.0f);
  CHECK(Exp(-87.33f) >= std::numeric_limits<float>::min());
  // The largest float whose exponential is finite, and its successor.
  const float last = 0x1.62e42ep+6f;
  CHECK(std::isfinite(Exp(last)));
  CHECK(UlpError(Exp(last), std::exp(static_cast<double>(last))) < 1.0);
  CHECK(Exp(std::nextafter(last, kInf)) == kInf);
}

TEST_CASE("Log is within 2 ulp over all normal numbers") {
  auto oracle = [](double x) { return std::log(x); };
  CHECK(WorstUlp(Log, oracle, 0x00800000u, 0x7f800000u, 1009) < 2.0);
  // Around 1 the result itself is small: every float there.
  CHECK(WorstUlp(Log, oracle, Bits(0.999f), Bits(1.0f), 1) < 2.0);
  CHECK(WorstUlp(Log, oracle, Bits(1.0f) + 1, Bits(1.001f), 1) < 2.0);
}

TEST_CASE("Log at its edges") {
  CHECK(Log(1.0f) == 0.0f);
  CHECK(Log(0.0f) == -kInf);
  CHECK(Log(-0.0f) == -kInf);
  CHECK(Log(std::numeric_limits<float>::denorm_min()) == -kInf);
  CHECK(Log(kInf) == kInf);
  CHECK(std::isnan(Log(-1.0f)));
  CHECK(std::isnan(Log(-kInf)));
  CHECK(std::isnan(Log(std::numeric_limits<float>::quiet_NaN())));
}

TEST_CASE("Sigmoid follows its definition and saturates") {
  CHECK(Sigmoid(0.0f) == 0.5f);
  CHECK(Sigmoid(kInf) == 1.0f);
  CHECK(Sigmoid(-kInf) == 0.0f);
  for (float x = -80; x < 80; x += 0.37f) {
    CHECK(UlpError(Sigmoid(x), 1.0 / (1.0 + std::exp(-static_cast<double>(x)))) < 3.0);
  }
}

// The error in units of double's last place at `want`, or absolute for tiny values.
double DoubleUlp(double got, long double want) {
  const double w = std::fabs(static_cast<double>(want));
  const double ulp = std::nextafter(w, HUGE_VAL) - w;
  return static_cast<double>(std::fabs(got - want) / ulp);
}

TEST_CASE("SinCos agrees with long double up to 1e6 radians") {
  std::mt19937_64 rng(7);
  double worst = 0;
  for (double limit : {1.0, 10.0, 1e3, 1e6}) {
    std::uniform_real_distribution<double> angle(-limit, limit);
    for (int i = 0; i < 50000; ++i) {
      const double x = angle(rng);
      const SinCosResult r = SinCos(x);
      worst = std::max(worst, DoubleUlp(r.sin, std::sin(static_cast<long double>(x))));
      worst = std::max(worst, DoubleUlp(r.cos, std::cos(static_cast<long double>(x))));
    }
  }
  CHECK(worst < 1.5);
  CHECK(SinCos(0.0).sin == 0.0);
  CHECK(SinCos(0.0).cos == 1.0);
}

TEST_CASE("SinCos near multiples of pi/2, where the range reduction cancels most") {
  double worst = 0;
  for (int n = 1; n < 600000; n += 997) {
    const double x = n * 1.5707963267948966;
    const SinCosResult r = SinCos(x);
    worst = std::max(worst, DoubleUlp(r.sin, std::sin(static_cast<long double>(x))));
    worst = std::max(worst, DoubleUlp(r.cos, std::cos(static_cast<long double>(x))));
  }
  CHECK(worst < 1.5);
}

}  // namespace
}  // namespace lynx
