// Time as a dependency: components take a Clock, so tests can drive it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace lynx {

// Monotonic nanoseconds since an arbitrary start. Never compared across processes.
using Nanos = std::chrono::nanoseconds;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Nanos Now() const = 0;  // any thread
};

class SteadyClock final : public Clock {
 public:
  Nanos Now() const override {
    return std::chrono::duration_cast<Nanos>(std::chrono::steady_clock::now().time_since_epoch());
  }
};

// Moves only when told to.
class ManualClock final : public Clock {
 public:
  Nanos Now() const override { return Nanos(now_ns_.load(std::memory_order_acquire)); }
  void Advance(Nanos d) { now_ns_.fetch_add(d.count(), std::memory_order_acq_rel); }
  // Never moves backwards: an earlier time than Now() is ignored.
  void AdvanceTo(Nanos t) {
    int64_t now = now_ns_.load();
    while (now < t.count() && !now_ns_.compare_exchange_weak(now, t.count())) {
    }
  }

 private:
  std::atomic<int64_t> now_ns_{0};
};

}  // namespace lynx
