#include "runtime/engine_thread.h"

#include <catch2/catch.hpp>

namespace lynx {
namespace {

// Its steps last as long as it is held.
struct FakeEngine {
  bool Step() {
    absl::MutexLock lock(&mu);
    inside = true;
    mu.Await(absl::Condition(
        +[](bool* held) { return !*held; }, &held));
    inside = false;
    return false;
  }
  Nanos NextDeadline() const { return Nanos::max(); }

  absl::Mutex mu;
  bool held = true;
  bool inside = false;
};

}  // namespace

TEST_CASE("engine thread: a step that lasts the limit is a stall, until it ends") {
  using std::chrono::seconds;
  ManualClock clock;
  Wakeup wakeup;
  EngineThread<FakeEngine> thread(1, clock, wakeup,
                                  [](ThreadPool&) { return std::make_unique<FakeEngine>(); });
  FakeEngine& engine = thread.engine();
  {
    absl::MutexLock lock(&engine.mu);
    engine.mu.Await(absl::Condition(&engine.inside));
  }
  CHECK_FALSE(thread.Stalled(seconds(1)));
  clock.Advance(seconds(1) - Nanos(1));
  CHECK_FALSE(thread.Stalled(seconds(1)));
  clock.Advance(Nanos(1));
  CHECK(thread.Stalled(seconds(1)));
  CHECK_FALSE(thread.Stalled(seconds(2)));
  {
    absl::MutexLock lock(&engine.mu);
    engine.held = false;
  }
  // Steps begin now at the new time: none of them is old.
  while (thread.Stalled(seconds(1))) {
  }
  for (int i = 0; i < 1000; ++i) REQUIRE_FALSE(thread.Stalled(seconds(1)));
}

}  // namespace lynx
