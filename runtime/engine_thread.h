// The one thread of a server's engine: owns the worker pool, steps the engine while there is work
// and waits for a wake-up or the engine's next deadline otherwise.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <thread>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "runtime/clock.h"
#include "runtime/cpu.h"
#include "runtime/thread_pool.h"
#include "runtime/wakeup.h"

namespace lynx {

// `Engine` has bool Step() and Nanos NextDeadline(), both called on this thread only. Pool and
// engine are made on it too, because the pool's owner is its worker 0; both are destroyed by the
// destructor, so that what the engine's memory is lent to (channels) can be closed between Stop and
// then.
template <typename Engine>
class EngineThread {
 public:
  using Make = std::function<std::unique_ptr<Engine>(ThreadPool& pool)>;

  // Returns once the engine is made. `clock` and `wakeup` outlive the thread.
  EngineThread(int threads, const Clock& clock, Wakeup& wakeup, const Make& make)
      : clock_(clock), wakeup_(wakeup) {
    absl::Notification made;
    thread_ = std::thread([&, this] {
      SetExactFloatMode();
      pool_ = std::make_unique<ThreadPool>(threads);
      engine_ = make(*pool_);
      made.Notify();
      Loop();
    });
    made.WaitForNotification();
  }
  ~EngineThread() { Stop(); }
  EngineThread(const EngineThread&) = delete;

  Engine& engine() const { return *engine_; }

  // True if a step has been running for `limit` or longer: work makes no progress. (An idle thread
  // steps too.) Any thread.
  bool Stalled(Nanos limit) const {
    const int64_t began = step_began_ns_.load(std::memory_order_relaxed);
    return began != kNoStep && clock_.Now() - Nanos(began) >= limit;
  }

  // Ends the loop after the current step; what runs stays as it is. Once or more, by one thread.
  void Stop() {
    stop_ = true;
    wakeup_.Notify();
    if (thread_.joinable()) thread_.join();
  }

 private:
  void Loop() {
    while (!stop_) {
      step_began_ns_.store(clock_.Now().count(), std::memory_order_relaxed);
      const bool busy = engine_->Step();
      step_began_ns_.store(kNoStep, std::memory_order_relaxed);
      if (!busy) wakeup_.Wait(Pause());
    }
  }

  // At least a moment, so that a deadline that nothing can be done about does not spin; at most so
  // long that no missed wake-up could be noticed by a client.
  absl::Duration Pause() const {
    const Nanos next = engine_->NextDeadline();
    const Nanos now = clock_.Now();
    const Nanos pause = next > now ? next - now : Nanos{0};
    return absl::FromChrono(std::clamp<Nanos>(pause, kPauseMin, kPauseMax));
  }

  static constexpr Nanos kPauseMin = std::chrono::milliseconds(1);
  static constexpr Nanos kPauseMax = std::chrono::milliseconds(100);
  static constexpr int64_t kNoStep = std::numeric_limits<int64_t>::min();

  const Clock& clock_;
  Wakeup& wakeup_;
  std::atomic<bool> stop_{false};
  std::atomic<int64_t> step_began_ns_{kNoStep};  // by the clock
  std::unique_ptr<ThreadPool> pool_;
  std::unique_ptr<Engine> engine_;  // after the pool that it uses
  std::thread thread_;
};

}  // namespace lynx
