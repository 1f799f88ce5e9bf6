// The issuing thread of an NCCL channel, whose end has a limit: NCCL and the device may not let go.
#pragma once

#include <functional>
#include <thread>
#include <utility>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "transfer/nccl_options.h"

namespace lynx {

class NcclThread {
 public:
  ~NcclThread() {
    if (thread_.joinable()) thread_.join();
  }

  // `body` says at its end whether the device has let go of everything.
  void Start(std::function<bool()> body) {
    thread_ = std::thread([this, body = std::move(body)] {
      clean_ = body();
      ended_.Notify();
    });
  }
  bool started() const { return thread_.joinable() || ended_.HasBeenNotified(); }

  // `body` has been told to end. False: it did not in time, or not cleanly.
  bool End(const NcclOptions& options) {
    // A session takes one abort_timeout to be revoked and one to drain; aborting has none.
    const Nanos limit = 2 * options.abort_timeout + kSlack;
    if (!ended_.WaitForNotificationWithTimeout(absl::FromChrono(limit))) return false;
    if (thread_.joinable()) thread_.join();
    return clean_;
  }

 private:
  static constexpr Nanos kSlack = std::chrono::seconds(5);

  absl::Notification ended_;
  bool clean_ = true;  // read after ended_
  std::thread thread_;
};

}  // namespace lynx
