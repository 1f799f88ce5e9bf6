// Wakes an engine thread: any thread notifies, the engine waits. None before the wait is lost.
#pragma once

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace lynx {

class Wakeup {
 public:
  void Notify() {
    absl::MutexLock lock(&mu_);
    notified_ = true;
  }

  // Returns when notified or after `timeout`; takes the notification.
  void Wait(absl::Duration timeout) {
    absl::MutexLock lock(&mu_);
    mu_.AwaitWithTimeout(absl::Condition(&notified_), timeout);
    notified_ = false;
  }

 private:
  absl::Mutex mu_;
  bool notified_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace lynx
