// SIGTERM and SIGINT as something that main waits for, instead of a handler.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <chrono>
#include <ctime>

namespace lynx {

class ShutdownSignal {
 public:
  // In main, before any thread is started: threads inherit the mask, so only Wait sees the signals.
  ShutdownSignal() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGTERM);
    sigaddset(&set_, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  }

  // Until one of them comes; returns its number.
  int Wait() const {
    int signal = 0;
    while (sigwait(&set_, &signal) != 0) {
    }
    return signal;
  }

  // True if one comes within `limit`.
  bool WaitFor(std::chrono::milliseconds limit) const {
    const timespec timeout{.tv_sec = static_cast<time_t>(limit.count() / 1000),
                           .tv_nsec = static_cast<long>(limit.count() % 1000 * 1'000'000)};
    return sigtimedwait(&set_, nullptr, &timeout) > 0;
  }

 private:
  sigset_t set_;
};

}  // namespace lynx
