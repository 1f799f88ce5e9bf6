#include "model/sampling_logprobs.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>

#include "model/sampling_filter.h"
#include "model/sampling_math.h"
#include "runtime/status.h"

namespace lynx {
namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

// Sum of e^(x[i] - max) over the finite x. Lane i % 4 takes summand i, ascending.
double SumOfExp(const float* x, int64_t n, double max) {
  std::array<double, 4> lanes{};
  for (int64_t begin = 0; begin < n; begin += 256) {
    const int64_t count = std::min<int64_t>(256, n - begin);
    std::array<double, 256> e;
    for (int64_t i = 0; i < count; ++i) {
      const float v = x[begin + i];
      e[i] = std::isfinite(v) ? v - max : kMinusInfinity;
    }
    ExpNonPositive({e.data(), static_cast<size_t>(count)});
    for (int64_t i = 0; i < count; ++i) lanes[i % 4] += e[i];
  }
  return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

}  // namespace

Logprobs ComputeLogprobs(const float* logits, int64_t vocab, int32_t id, int64_t k) {
  LYNX_CHECK(vocab > 0 && id >= 0 && id < vocab && k >= 0);
  const LogitScan scan = ScanLogits(logits, vocab);
  if (scan.best == 0) return {kMinusInfinity, {}};
  const double max = CandidateLogit(scan.best);
  const double log_sum = LogPositive(SumOfExp(logits, vocab, max));
  auto logprob = [&](float x) {
    return std::isfinite(x) ? (static_cast<double>(x) - max) - log_sum : kMinusInfinity;
  };
  Logprobs result{logprob(logits[id]), {}};
  if (k == 0) return result;
  std::vector<CandidateKey> keys;
  CollectTopK(logits, vocab, k, &keys);
  std::sort(keys.begin(), keys.end(), std::greater<>());
  for (CandidateKey key : keys) {
    result.top.push_back({CandidateId(key), logprob(CandidateLogit(key))});
  }
  return result;
}

}  // namespace lynx
