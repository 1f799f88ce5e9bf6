#include "model/sampling_filter.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>

#include "model/sampling_math.h"
#include "runtime/status.h"

namespace lynx {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

bool IsInvalid(float x) { return std::isnan(x) || x == kInfinity; }

// A float threshold that no x with double(x) >= bound falls to: CollectAbove's quick test.
float JustBelow(double bound) {
  const double lower = bound - std::abs(bound) * 1e-6 - 1e-30;
  if (!(lower > -std::numeric_limits<float>::max())) return -kInfinity;
  return static_cast<float>(lower);
}

// Distances from the best candidate, cut into equal steps, so that only one step's candidates must
// be sorted.
constexpr int kSteps = 1024;
using Mass = unsigned __int128;  // sums: 2^23 tokens of 2^51 each, times 2^53

class StepScale {
 public:
  StepScale(double best, double range) : best_(best), per_unit_(range > 0 ? kSteps / range : 0) {}
  // Never smaller for a larger distance.
  int StepOf(double z) const {
    return static_cast<int>(std::min((best_ - z) * per_unit_, double{kSteps - 1}));
  }

 private:
  double best_, per_unit_;
};

}  // namespace

LogitScan ScanLogits(const float* x, int64_t n) {
  LogitScan scan;
  float threshold = -kInfinity;
  ForEachAbove(x, n, threshold, [&](int64_t i) {
    if (IsInvalid(x[i])) {
      scan.invalid = true;
      return;
    }
    const CandidateKey key = MakeCandidate(x[i], static_cast<int32_t>(i));
    if (key > scan.best) {
      scan.second = std::exchange(scan.best, key);
    } else {
      scan.second = std::max(scan.second, key);
    }
    if (scan.second != 0) threshold = CandidateLogit(scan.second);
  });
  return scan;
}

bool CollectTopK(const float* x, int64_t n, int64_t k, std::vector<CandidateKey>* out) {
  out->clear();
  k = std::min(k, n);
  const size_t room = static_cast<size_t>(std::min(n, std::max<int64_t>(2 * k, 64)));
  out->reserve(room);
  float threshold = -kInfinity;  // of the k-th best so far; ids ascend, so its equals come too late
  auto keep_first_k = [&] {
    if (out->size() <= static_cast<size_t>(k)) return;
    std::nth_element(out->begin(), out->begin() + (k - 1), out->end(), std::greater<>());
    out->resize(static_cast<size_t>(k));
    threshold = CandidateLogit(out->back());
  };
  bool invalid = false;
  ForEachAbove(x, n, threshold, [&](int64_t i) {
    if (IsInvalid(x[i])) {
      invalid = true;
      return;
    }
    if (out->size() == room) keep_first_k();
    if (x[i] > threshold) out->push_back(MakeCandidate(x[i], static_cast<int32_t>(i)));
  });
  keep_first_k();
  return invalid;
}

void CollectAbove(const float* x, int64_t n, double temperature, float max, double floor,
                  std::vector<CandidateKey>* out) {
  out->clear();
  const double best = max / temperature;
  const float threshold = JustBelow((best + floor) * temperature);
  ForEachAbove(x, n, threshold, [&](int64_t i) {
    if (!IsInvalid(x[i]) && x[i] / temperature - best >= floor) {
      out->push_back(MakeCandidate(x[i], static_cast<int32_t>(i)));
    }
  });
}

void KeepMinP(double min_p, double temperature, std::vector<CandidateKey>* candidates) {
  if (candidates->empty() || min_p <= 0.0) return;
  const double best =
      CandidateLogit(*std::max_element(candidates->begin(), candidates->end())) / temperature;
  const double floor = LogPositive(min_p);
  std::erase_if(*candidates, [&](CandidateKey key) {
    return !(CandidateLogit(key) / temperature - best >= floor);
  });
}

void TopPFilter::Keep(double top_p, double temperature, float max,
                      std::vector<CandidateKey>* candidates) {
  const std::vector<CandidateKey>& keys = *candidates;
  LYNX_CHECK(!keys.empty());
  const double best = max / temperature;
  masses_.resize(keys.size());
  double worst = best;
  for (size_t begin = 0; begin < keys.size(); begin += 256) {
    const size_t count = std::min<size_t>(256, keys.size() - begin);
    std::array<double, 256> e;
    for (size_t i = 0; i < count; ++i) {
      const double z = CandidateLogit(keys[begin + i]) / temperature;
      worst = std::min(worst, z);
      e[i] = z - best;
    }
    ExpNonPositive({e.data(), count});
    // Adding 2^52 leaves the rounded integer in the low mantissa bits.
    for (size_t i = 0; i < count; ++i) {
      masses_[begin + i] = std::bit_cast<uint64_t>(e[i] * 0x1p51 + 0x1p52) & 0xfffffffffffffu;
    }
  }
  const StepScale scale(best, best - worst);
  auto step_of = [&](CandidateKey key) { return scale.StepOf(CandidateLogit(key) / temperature); };

  std::array<Mass, kSteps> mass_of_step{};
  Mass total = 0;
  for (size_t i = 0; i < keys.size(); ++i) mass_of_step[step_of(keys[i])] += masses_[i];
  for (Mass m : mass_of_step) total += m;
  const Mass wanted = static_cast<uint64_t>(std::ceil(top_p * 0x1p53)) * total;
  auto reached = [&](Mass sum) { return (sum << 53) >= wanted; };

  // The step in which the sum reaches what is wanted; steps before it are kept whole.
  int edge_step = 0;
  Mass sum = 0;
  while (edge_step + 1 < kSteps && !reached(sum + mass_of_step[edge_step])) {
    sum += mass_of_step[edge_step++];
  }
  edge_.clear();
  size_t kept = 0;
  for (size_t i = 0; i < keys.size(); ++i) {
    const CandidateKey key = keys[i];
    const int step = step_of(key);
    if (step < edge_step) (*candidates)[kept++] = key;
    if (step == edge_step) edge_.emplace_back(key, masses_[i]);
  }
  candidates->resize(kept);
  std::sort(edge_.begin(), edge_.end(), std::greater<>());
  for (const auto& [key, mass] : edge_) {
    if (!candidates->empty() && reached(sum)) break;
    candidates->push_back(key);
    sum += mass;
  }
}

}  // namespace lynx
