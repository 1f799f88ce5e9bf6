#include "tests/e2e/covering_set.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>

namespace lynx {
namespace {

bool Occurs(const std::vector<CoveringRow>& rows, int a, int i, int b, int j) {
  return std::any_of(rows.begin(), rows.end(),
                     [&](const CoveringRow& row) { return row[a] == i && row[b] == j; });
}

}  // namespace

TEST_CASE("every pair of levels occurs, in few rows") {
  const std::vector<std::vector<int>> shapes = {{2, 2},
                                                {1, 5, 1},
                                                {3, 3, 3, 3},
                                                {2, 2, 2, 2, 2, 2, 2, 2, 2, 2},
                                                {7, 6, 2, 2, 2, 2, 2, 2, 3, 2, 2, 2, 3}};
  for (const std::vector<int>& levels : shapes) {
    for (uint64_t seed : {1, 2, 3}) {
      CAPTURE(levels, seed);
      const std::vector<CoveringRow> rows = CoveringSet(levels, seed);
      const int n = static_cast<int>(levels.size());
      for (const CoveringRow& row : rows) {
        REQUIRE(row.size() == levels.size());
        for (int d = 0; d < n; ++d) REQUIRE((row[d] >= 0 && row[d] < levels[d]));
      }
      for (int a = 0; a < n; ++a) {
        for (int b = a + 1; b < n; ++b) {
          for (int i = 0; i < levels[a]; ++i) {
            for (int j = 0; j < levels[b]; ++j) REQUIRE(Occurs(rows, a, i, b, j));
          }
        }
      }
      // The two largest dimensions alone need this many; a greedy set is not far above it.
      std::vector<int> sorted = levels;
      std::sort(sorted.begin(), sorted.end(), std::greater<>());
      const size_t least = static_cast<size_t>(sorted[0]) * static_cast<size_t>(sorted[1]);
      CHECK(rows.size() >= least);
      CHECK(rows.size() <= 2 * least + 6);
      CHECK(CoveringSet(levels, seed) == rows);
    }
  }
}

}  // namespace lynx
