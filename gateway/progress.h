// Whether requests make progress: what /health answers.
#pragma once

#include <atomic>
#include <cstdint>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "runtime/clock.h"

namespace lynx {

// Threads: any.
class ProgressMonitor {
 public:
  // `clock` outlives this.
  explicit ProgressMonitor(const Clock* clock) : clock_(clock) {}

  // A request in the hands of the servers.
  void Begin() {
    // After idling, the time begins with this request.
    if (in_flight_.fetch_add(1) == 0) Event();
  }
  void End() {
    Event();
    in_flight_.fetch_sub(1);
  }
  void Event() { last_ns_.store(clock_->Now().count(), std::memory_order_relaxed); }

  // Requests are in flight and none of them heard anything for `limit`.
  bool Stalled(absl::Duration limit) const {
    const int64_t silent_ns = clock_->Now().count() - last_ns_.load(std::memory_order_relaxed);
    return in_flight_.load() > 0 && absl::Nanoseconds(silent_ns) > limit;
  }
  int64_t in_flight() const { return in_flight_.load(); }

  // Calls to servers whose last word has not come: they refer to what the owner is about to
  // destroy.
  void CallBegins() {
    absl::MutexLock lock(&mu_);
    ++calls_;
  }
  void CallEnds() {
    absl::MutexLock lock(&mu_);
    --calls_;
  }
  void WaitForCalls() {
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(
        +[](int64_t* calls) { return *calls == 0; }, &calls_));
  }

 private:
  const Clock* const clock_;
  std::atomic<int64_t> in_flight_{0};
  std::atomic<int64_t> last_ns_{0};
  absl::Mutex mu_;
  int64_t calls_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace lynx
