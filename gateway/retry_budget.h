// A bound on retries: a share of recent requests, so that an outage is not made worse by everything
// being asked for twice, and a few beside, so that little traffic can retry at all.
#pragma once

#include <chrono>
#include <cmath>

#include "runtime/clock.h"

namespace lynx {

// Threads: one at a time.
class RetryBudget {
 public:
  // `share` 0: only the few.
  explicit RetryBudget(double share) : share_(share) {}

  // A first try. `now` does not go back.
  void CountRequest(Nanos now) {
    Forget(now);
    requests_ += 1;
  }
  // False: there were too many of late; this one is not counted.
  bool Spend(Nanos now) {
    Forget(now);
    if (retries_ + 1 > kFew + share_ * requests_) return false;
    retries_ += 1;
    return true;
  }

 private:
  static constexpr double kFew = 10.0;  // in kWindow
  static constexpr std::chrono::duration<double> kWindow{10.0};

  // Both counts fade alike.
  void Forget(Nanos now) {
    const double keep = std::exp(-(now - last_) / kWindow);
    requests_ *= keep;
    retries_ *= keep;
    last_ = now;
  }

  const double share_;
  double requests_ = 0.0, retries_ = 0.0;
  Nanos last_{0};
};

}  // namespace lynx
