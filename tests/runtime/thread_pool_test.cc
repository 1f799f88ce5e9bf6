#include "runtime/thread_pool.h"

#include <catch2/catch.hpp>
#include <vector>

namespace lynx {

TEST_CASE("each worker runs once a job, each index once a loop") {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 500; ++round) {
      std::vector<std::atomic<int>> calls(threads);
      pool.Run([&](int worker) { ++calls[worker]; });
      for (auto& c : calls) REQUIRE(c == 1);
      std::vector<std::atomic<int>> hits(37);
      pool.ForEach(37, [&](int64_t i) { ++hits[i]; });
      for (auto& h : hits) REQUIRE(h == 1);
    }
  }
}

}  // namespace lynx
