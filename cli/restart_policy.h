// When a child that died is started again: at once the first time, then ever later, up to a limit;
// a long life makes it the first time again. No I/O and no clock of its own.
#pragma once

#include <algorithm>
#include <chrono>

#include "runtime/clock.h"

namespace lynx {

class RestartPolicy {
 public:
  // The child that was started at `started` died at `now`: when to start the next one.
  Nanos NextStart(Nanos started, Nanos now) {
    if (now - started >= kLongLife) pause_ = kFirstPause;
    const Nanos at = now + pause_;
    pause_ = std::min<Nanos>(2 * pause_, kPauseMax);
    return at;
  }

  static constexpr Nanos kFirstPause = std::chrono::milliseconds(100);
  static constexpr Nanos kPauseMax = std::chrono::seconds(10);
  static constexpr Nanos kLongLife = std::chrono::seconds(60);

 private:
  Nanos pause_ = kFirstPause;
};

}  // namespace lynx
