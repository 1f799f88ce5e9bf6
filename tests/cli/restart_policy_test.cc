#include "cli/restart_policy.h"

#include <catch2/catch.hpp>

namespace lynx {

TEST_CASE("restarts come ever later, up to a limit, until a child lives long") {
  RestartPolicy policy;
  const Nanos second = std::chrono::seconds(1);
  Nanos now = 1000 * second;
  Nanos pause = RestartPolicy::kFirstPause;
  for (int i = 0; i < 12; ++i) {
    CHECK(policy.NextStart(now - second, now) == now + pause);
    pause = std::min<Nanos>(2 * pause, RestartPolicy::kPauseMax);
    now += 20 * second;
  }
  CHECK(pause == RestartPolicy::kPauseMax);
  CHECK(policy.NextStart(now - RestartPolicy::kLongLife, now) == now + RestartPolicy::kFirstPause);
}

}  // namespace lynx
