#include "model/sampling_logprobs.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "model/sampling_math.h"

namespace lynx {

TEST_CASE("log-probabilities are those of the softmax") {
  std::mt19937 rng(21);
  std::normal_distribution<float> normal(-3.0f, 4.0f);
  for (int64_t vocab : {1, 2, 5, 255, 256, 257, 1000, 49152}) {
    std::vector<float> logits(static_cast<size_t>(vocab));
    for (float& x : logits) x = normal(rng);
    long double sum = 0;
    for (float x : logits) sum += std::exp(static_cast<long double>(x));
    const int32_t id = static_cast<int32_t>(rng() % logits.size());
    const Logprobs got = ComputeLogprobs(logits.data(), vocab, id, 20);
    const double want = static_cast<double>(logits[id] - std::log(sum));
    CHECK(got.logprob == Approx(want).epsilon(1e-13).margin(1e-13));
    REQUIRE(got.top.size() == static_cast<size_t>(std::min<int64_t>(20, vocab)));
    for (size_t i = 0; i < got.top.size(); ++i) {
      // The same double as when it is asked for itself.
      CHECK(ComputeLogprobs(logits.data(), vocab, got.top[i].id, 0).logprob == got.top[i].logprob);
      if (i == 0) continue;
      CHECK((got.top[i - 1].logprob > got.top[i].logprob ||
             (got.top[i - 1].logprob == got.top[i].logprob && got.top[i - 1].id < got.top[i].id)));
    }
    for (float x : logits) CHECK(x <= logits[got.top[0].id]);
  }
}

TEST_CASE("log-probabilities of ties, infinities and extremes") {
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> ties = {1, 7, 7, 7};
  const Logprobs top = ComputeLogprobs(ties.data(), 4, 3, 2);
  CHECK(top.top[0].id == 1);
  CHECK(top.top[1].id == 2);
  CHECK(top.logprob == top.top[0].logprob);

  const std::vector<float> holes = {-inf, 0, -inf, 0, NAN, inf};
  const Logprobs few = ComputeLogprobs(holes.data(), 6, 0, 5);
  CHECK(few.logprob == -std::numeric_limits<double>::infinity());
  REQUIRE(few.top.size() == 2);
  CHECK(few.top[0].logprob == Approx(std::log(0.5)));

  const std::vector<float> nothing(20, -inf);
  CHECK(std::isinf(ComputeLogprobs(nothing.data(), 20, 3, 2).logprob));
  CHECK(ComputeLogprobs(nothing.data(), 20, 3, 2).top.empty());

  const std::vector<float> far = {3e38f, -3e38f};
  CHECK(ComputeLogprobs(far.data(), 2, 0, 0).logprob == 0.0);
  CHECK(ComputeLogprobs(far.data(), 2, 1, 0).logprob == Approx(-6e38));
}

TEST_CASE("exponential and logarithm are within two units in the last place") {
  std::mt19937_64 rng(22);
  std::uniform_real_distribution<double> exponent(-707.9, 0.0), unit(0.0, 1.0);
  auto ulps = [](double got, double want) {
    const double ulp = std::abs(want) - std::nextafter(std::abs(want), 0.0);
    return std::abs(got - want) / ulp;
  };
  double worst_exp = 0, worst_log = 0;
  for (int i = 0; i < 200000; ++i) {
    std::vector<double> x = {i % 2 ? exponent(rng) : -unit(rng)};
    const double want = std::exp(x[0]);
    ExpNonPositive(x);
    worst_exp = std::max(worst_exp, ulps(x[0], want));
    const double v = i % 3 == 0   ? unit(rng)
                     : i % 3 == 1 ? std::exp(exponent(rng))
                                  : 1 - unit(rng) * 1e-3;
    if (v == 1.0 || v == 0.0) continue;
    worst_log = std::max(worst_log, ulps(LogPositive(v), std::log(v)));
  }
  CHECK(worst_exp <= 2.0);
  CHECK(worst_log <= 2.0);
  CHECK(LogPositive(1.0) == 0.0);
  std::vector<double> edges = {0.0, -708.0, -708.5, -1e300, -HUGE_VAL, NAN, -1e-300};
  ExpNonPositive(edges);
  CHECK(edges[0] == 1.0);
  CHECK(edges[1] > 0.0);
  for (int i = 2; i < 6; ++i) CHECK(edges[i] == 0.0);
  CHECK(edges[6] == 1.0);
}

TEST_CASE("an exponential does not depend on its place") {
  std::mt19937_64 rng(23);
  std::vector<double> x(37);
  for (double& v : x) v = -static_cast<double>(rng() % 100000) / 1234.5;
  std::vector<double> together = x;
  ExpNonPositive(together);
  for (size_t i = 0; i < x.size(); ++i) {
    std::vector<double> alone = {x[i]};
    ExpNonPositive(alone);
    CHECK(alone[0] == together[i]);
  }
}

TEST_CASE("the scan visits what is above the threshold, and NaN") {
  std::mt19937 rng(24);
  for (int64_t n : {0, 1, 15, 16, 17, 100}) {
    std::vector<float> x(static_cast<size_t>(n));
    for (float& v : x) v = static_cast<float>(rng() % 10);
    if (n > 3) x[2] = NAN;
    std::vector<int64_t> visited, wanted;
    ForEachAbove(x.data(), n, 6.0f, [&](int64_t i) { visited.push_back(i); });
    for (int64_t i = 0; i < n; ++i) {
      if (!(x[i] <= 6.0f)) wanted.push_back(i);
    }
    CHECK(visited == wanted);
  }
}

}  // namespace lynx
