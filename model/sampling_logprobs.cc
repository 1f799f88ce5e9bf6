#include "model/sampling_logprobs.h"

#include <algorithm>
#include <array>
#include <functional>
#include <limits>

#include "model/sampling_filter.h"
#include "model/sampling_math.h"
#include "runtime/status.h"

namespace lynx {
namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

// Of one chunk, x[n].
double SumOfChunk(const float* x, int64_t n, double max) {
  std::array<double, kLogprobLanes> lanes{};
  std::array<double, kLogprobLanes> e;
  for (int64_t begin = 0; begin < n; begin += kLogprobLanes) {
    const int64_t count = std::min<int64_t>(kLogprobLanes, n - begin);
    for (int64_t i = 0; i < count; ++i) {
      const float v = x[begin + i];
      e[i] = IsFiniteLogit(v) ? v - max : kMinusInfinity;
    }
    ExpNonPositive({e.data(), static_cast<size_t>(count)});
    for (int64_t i = 0; i < count; ++i) lanes[i] += e[i];
  }
  for (int half = kLogprobLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

// Sum of e^(x[i] - max) over the finite x.
double SumOfExp(const float* x, int64_t n, double max) {
  double sum = 0;
  for (int64_t begin = 0; begin < n; begin += kLogprobChunk) {
    sum += SumOfChunk(x + begin, std::min<int64_t>(kLogprobChunk, n - begin), max);
  }
  return sum;
}

}  // namespace

Logprobs ComputeLogprobs(const float* logits, int64_t vocab, int32_t id, int64_t k) {
  LYNX_CHECK(vocab > 0 && id >= 0 && id < vocab && k >= 0);
  const LogitScan scan = ScanLogits(logits, vocab);
  if (scan.best == 0) return {kMinusInfinity, {}};
  const double max = CandidateLogit(scan.best);
  const double log_sum = LogPositive(SumOfExp(logits, vocab, max));
  auto logprob = [&](float x) { return LogprobOfLogit(x, max, log_sum); };
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
