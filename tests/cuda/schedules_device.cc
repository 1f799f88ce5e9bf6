#include "tests/cuda/schedules.h"

namespace lynx::testing {

void ForEachSchedule(const std::function<void()>& test) { test(); }

}  // namespace lynx::testing
