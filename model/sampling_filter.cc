#include "model/sampling_filter.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <span>

#include "model/sampling_math.h"
#include "runtime/status.h"

namespace lynx {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// A float threshold that no x with double(x) >= bound falls to: CollectAbove's quick test.
float JustBelow(double bound) {
  const double lower = bound - std::abs(bound) * 1e-6 - 1e-30;
  if (!(lower > -std::numeric_limits<float>::max())) return -kInfinity;
  return static_cast<float>(lower);
}

// Distances from the best candidate are cut into equal steps, so that only one step's candidates
// must be sorted.
constexpr int kSteps = 1024;

constexpr int64_t kBlock = 256;

// e: [n], n <= kBlock, differences to the best; becomes masses.
void ToMasses(std::span<double> e, uint64_t* masses) {
  ExpNonPositive(e);
  for (size_t i = 0; i < e.size(); ++i) masses[i] = MassOfExp(e[i]);
}

}  // namespace

LogitScan ScanLogits(const float* x, int64_t n) {
  LogitScan scan;
  float threshold = -kInfinity;
  ForEachAbove(x, n, threshold, [&](int64_t i) {
    if (IsInvalidLogit(x[i])) {
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
    if (IsInvalidLogit(x[i])) {
      invalid = true;
      return;
    }
    if (out->size() == room) keep_first_k();
    if (x[i] > threshold) out->push_back(MakeCandidate(x[i], static_cast<int32_t>(i)));
  });
  keep_first_k();
  return invalid;
}

void CollectAbove(const float* x, int64_t n, double inverse_t, float max, double floor,
                  std::vector<CandidateKey>* out) {
  out->clear();
  const double best = max * inverse_t;
  const float threshold = JustBelow((best + floor) / inverse_t);
  ForEachAbove(x, n, threshold, [&](int64_t i) {
    if (!IsInvalidLogit(x[i]) && x[i] * inverse_t - best >= floor) {
      out->push_back(MakeCandidate(x[i], static_cast<int32_t>(i)));
    }
  });
}

void KeepMinP(double min_p, double inverse_t, std::vector<CandidateKey>* candidates) {
  if (candidates->empty() || min_p <= 0.0) return;
  const double best =
      CandidateLogit(*std::max_element(candidates->begin(), candidates->end())) * inverse_t;
  const double floor = LogPositive(min_p);
  std::erase_if(*candidates, [&](CandidateKey key) {
    return !(CandidateLogit(key) * inverse_t - best >= floor);
  });
}

Mass TotalMass(const float* x, int64_t n, double inverse_t, float max) {
  const double best = max * inverse_t;
  Mass total = 0;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t count = std::min(kBlock, n - begin);
    std::array<double, kBlock> e;
    std::array<uint64_t, kBlock> masses;
    for (int64_t i = 0; i < count; ++i) {
      const double difference = x[begin + i] * inverse_t - best;
      e[i] = difference <= 0.0 ? difference : -kInfinity;  // NaN and +infinity have no mass
    }
    ToMasses({e.data(), static_cast<size_t>(count)}, masses.data());
    uint64_t sum = 0;  // 2^8 * 2^51
    for (int64_t i = 0; i < count; ++i) sum += masses[i];
    total += sum;
  }
  return total;
}

void TopPFilter::ComputeMasses(double inverse_t, const std::vector<CandidateKey>& keys) {
  const double best = CandidateLogit(*std::max_element(keys.begin(), keys.end())) * inverse_t;
  distances_.resize(keys.size());
  masses_.resize(keys.size());
  longest_ = 0;
  for (size_t begin = 0; begin < keys.size(); begin += kBlock) {
    const size_t count = std::min<size_t>(kBlock, keys.size() - begin);
    std::array<double, kBlock> e;
    for (size_t i = 0; i < count; ++i) {
      e[i] = CandidateLogit(keys[begin + i]) * inverse_t - best;
      distances_[begin + i] = -e[i];
      longest_ = std::max(longest_, -e[i]);
    }
    ToMasses({e.data(), count}, &masses_[begin]);
  }
}

Mass TopPFilter::Sum() const {
  Mass sum = 0;
  for (uint64_t mass : masses_) sum += mass;
  return sum;
}

bool TopPFilter::Keep(double top_p, double inverse_t, Mass total,
                      std::vector<CandidateKey>* candidates) {
  LYNX_CHECK(!candidates->empty());
  ComputeMasses(inverse_t, *candidates);
  return Select(top_p, total, candidates);
}

void TopPFilter::Keep(double top_p, double inverse_t, std::vector<CandidateKey>* candidates) {
  LYNX_CHECK(!candidates->empty());
  ComputeMasses(inverse_t, *candidates);
  LYNX_CHECK(Select(top_p, Sum(), candidates));
}

bool TopPFilter::Select(double top_p, Mass total, std::vector<CandidateKey>* candidates) {
  const Mass wanted = WantedMass(top_p, total);
  auto reached = [&](Mass sum) { return MassReached(sum, wanted); };
  if (!reached(Sum())) return false;

  const double steps_per_unit = longest_ > 0 ? (kSteps - 1) / longest_ : 0;
  // Never smaller for a larger distance.
  auto step_of = [&](size_t i) { return static_cast<int>(distances_[i] * steps_per_unit); };
  std::array<Mass, kSteps + 1> mass_of_step{};  // one more than wanted: rounding
  for (size_t i = 0; i < masses_.size(); ++i) mass_of_step[step_of(i)] += masses_[i];

  // The step in which the sum reaches what is wanted; steps before it are kept whole.
  int edge_step = 0;
  Mass sum = 0;
  while (edge_step < kSteps && !reached(sum + mass_of_step[edge_step])) {
    sum += mass_of_step[edge_step++];
  }
  edge_.clear();
  size_t kept = 0;
  for (size_t i = 0; i < masses_.size(); ++i) {
    const int step = step_of(i);
    if (step < edge_step) (*candidates)[kept++] = (*candidates)[i];
    if (step == edge_step) edge_.emplace_back((*candidates)[i], masses_[i]);
  }
  candidates->resize(kept);
  std::sort(edge_.begin(), edge_.end(), std::greater<>());
  for (const auto& [key, mass] : edge_) {
    if (!candidates->empty() && reached(sum)) break;
    candidates->push_back(key);
    sum += mass;
  }
  return true;
}

}  // namespace lynx
