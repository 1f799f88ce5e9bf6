// A thread for the one step of joining that may wait: resolving the name of a data address.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <thread>

#include "absl/synchronization/mutex.h"

namespace lynx::decode {

// Runs jobs in order. Not bounded by itself: each prefill server has at most one.
class Dialer {
 public:
  Dialer() : thread_([this] { Loop(); }) {}
  ~Dialer() {  // after the job that is running; jobs that wait are run as well
    {
      absl::MutexLock lock(&mu_);
      stop_ = true;
    }
    thread_.join();
  }

  void Run(std::function<void()> job) {
    absl::MutexLock lock(&mu_);
    jobs_.push_back(std::move(job));
  }

 private:
  void Loop() {
    while (std::optional<std::function<void()>> job = Next()) (*job)();
  }

  std::optional<std::function<void()>> Next() {
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(this, &Dialer::ReadyLocked));
    if (jobs_.empty()) return std::nullopt;
    std::function<void()> job = std::move(jobs_.front());
    jobs_.pop_front();
    return job;
  }
  bool ReadyLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return stop_ || !jobs_.empty(); }

  absl::Mutex mu_;
  std::deque<std::function<void()>> jobs_ ABSL_GUARDED_BY(mu_);
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace lynx::decode
