// How far a long piece of work has come, for whoever watches it.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace lynx {

// Threads: any.
class WorkProgress {
 public:
  // The work has so many units, whatever they are. Known a while after it has begun.
  void SetTotal(int64_t units) { total_.store(units, std::memory_order_relaxed); }
  void Add(int64_t units) { done_.fetch_add(units, std::memory_order_relaxed); }

  int64_t done() const { return done_.load(std::memory_order_relaxed); }
  // 0 to 100.
  int percent() const {
    const int64_t total = total_.load(std::memory_order_relaxed);
    if (total <= 0) return 0;
    const double share = static_cast<double>(done()) / static_cast<double>(total);
    return static_cast<int>(100.0 * std::clamp(share, 0.0, 1.0));
  }

 private:
  std::atomic<int64_t> total_{0};
  std::atomic<int64_t> done_{0};
};

}  // namespace lynx
