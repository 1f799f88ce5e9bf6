#include "tests/e2e/covering_set.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <set>
#include <tuple>

namespace lynx {
namespace {

constexpr int kUnset = -1;
// Rows tried for each row taken: more give slightly fewer rows.
constexpr int kCandidates = 20;

class Generator {
 public:
  Generator(std::span<const int> levels, uint64_t seed)
      : levels_(levels.begin(), levels.end()), rng_(seed) {
    for (int a = 0; a < dimensions(); ++a) {
      for (int b = a + 1; b < dimensions(); ++b) {
        for (int i = 0; i < levels_[a]; ++i) {
          for (int j = 0; j < levels_[b]; ++j) open_.insert({a, i, b, j});
        }
      }
    }
  }

  std::vector<CoveringRow> Rows() {
    std::vector<CoveringRow> rows;
    while (!open_.empty()) {
      CoveringRow best;
      size_t best_count = 0;
      for (int i = 0; i < kCandidates; ++i) {
        CoveringRow row = Candidate();
        const size_t count = NewPairs(row);
        if (count > best_count) std::tie(best, best_count) = std::tuple(std::move(row), count);
      }
      Close(best);
      rows.push_back(std::move(best));
    }
    return rows;
  }

 private:
  using Pair = std::tuple<int, int, int, int>;  // dimension, its level, a later one, its level

  int dimensions() const { return static_cast<int>(levels_.size()); }

  static Pair PairOf(const CoveringRow& row, int a, int b) {
    return a < b ? Pair{a, row[a], b, row[b]} : Pair{b, row[b], a, row[a]};
  }

  // Some open pair, then dimension by dimension in some order the level that closes the most.
  CoveringRow Candidate() {
    CoveringRow row(levels_.size(), kUnset);
    const auto [a, i, b, j] =
        *std::next(open_.begin(), static_cast<int64_t>(rng_() % open_.size()));
    row[a] = i;
    row[b] = j;
    std::vector<int> order(levels_.size());
    std::iota(order.begin(), order.end(), 0);
    for (size_t k = order.size(); k > 1; --k) std::swap(order[k - 1], order[rng_() % k]);
    for (int d : order) {
      if (row[d] == kUnset) row[d] = BestLevel(row, d);
    }
    return row;
  }

  int BestLevel(CoveringRow row, int dimension) {
    const int first = static_cast<int>(rng_() % levels_[dimension]);  // equals take turns
    int best = first;
    size_t best_count = 0;
    for (int k = 0; k < levels_[dimension]; ++k) {
      row[dimension] = (first + k) % levels_[dimension];
      size_t count = 0;
      for (int other = 0; other < dimensions(); ++other) {
        if (other == dimension || row[other] == kUnset) continue;
        count += open_.count(PairOf(row, dimension, other));
      }
      if (count > best_count) std::tie(best, best_count) = std::tuple(row[dimension], count);
    }
    return best;
  }

  size_t NewPairs(const CoveringRow& row) const {
    size_t count = 0;
    for (int a = 0; a < dimensions(); ++a) {
      for (int b = a + 1; b < dimensions(); ++b) count += open_.count(PairOf(row, a, b));
    }
    return count;
  }

  void Close(const CoveringRow& row) {
    for (int a = 0; a < dimensions(); ++a) {
      for (int b = a + 1; b < dimensions(); ++b) open_.erase(PairOf(row, a, b));
    }
  }

  const std::vector<int> levels_;
  std::mt19937_64 rng_;
  std::set<Pair> open_;
};

}  // namespace

std::vector<CoveringRow> CoveringSet(std::span<const int> levels, uint64_t seed) {
  return Generator(levels, seed).Rows();
}

}  // namespace lynx
