// Counts and distributions that hot paths keep for whoever looks at them: an atomic addition each,
// and nobody waits for a reader.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

namespace lynx {

// Only grows. Threads: any.
class EventCount {
 public:
  void Add(uint64_t n = 1) { count_.fetch_add(n, std::memory_order_relaxed); }
  uint64_t value() const { return count_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> count_{0};
};

// Upper edges of buckets, ascending; the bucket above the last is implied.
using BucketEdges = std::span<const double>;

// Until a first token, and shorter things.
inline constexpr double kFirstTokenEdges_s[] = {.001, .005, .01, .02, .04, .06, .08, .1,
                                                .25,  .5,   .75, 1,   2.5, 5,   7.5, 10,
                                                20,   40,   80,  160, 640, 2560};
// Between two tokens; of a pass.
inline constexpr double kTokenEdges_s[] = {.0005, .001, .0025, .005, .01, .015, .02, .025,
                                           .03,   .04,  .05,   .075, .1,  .15,  .2,  .3,
                                           .4,    .5,   .75,   1,    2.5, 5,    10,  80};
// Of a whole request, or its larger parts.
inline constexpr double kRequestEdges_s[] = {.3, .5, .8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
                                             30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680};
inline constexpr double kRowEdges[] = {1,   2,   4,   8,   16,   32,   64,  96,
                                       128, 192, 256, 512, 1024, 2048, 4096};

// How often values fell into which bucket. Threads: any; a reader may see a value that is counted
// in its bucket and not yet in the sum.
class Distribution {
 public:
  // `edges` outlive this.
  explicit constexpr Distribution(BucketEdges edges) : edges_(edges) {}

  void Observe(double value) {
    const auto edge = std::lower_bound(edges_.begin(), edges_.end(), value);
    counts_[edge - edges_.begin()].fetch_add(1, std::memory_order_relaxed);
    sum_.fetch_add(value, std::memory_order_relaxed);
  }

  // In seconds.
  void Observe(std::chrono::nanoseconds time) {
    Observe(std::chrono::duration<double>(time).count());
  }

  BucketEdges edges() const { return edges_; }
  uint64_t count(size_t bucket) const {  // of the bucket alone; [edges + 1]
    return counts_[bucket].load(std::memory_order_relaxed);
  }
  double sum() const { return sum_.load(std::memory_order_relaxed); }

 private:
  static constexpr size_t kEdgesMax = 24;

  const BucketEdges edges_;
  std::array<std::atomic<uint64_t>, kEdgesMax + 1> counts_{};
  std::atomic<double> sum_{0};
};

}  // namespace lynx
