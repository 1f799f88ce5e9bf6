// The orders in which a test runs its kernels.
#pragma once

#include <functional>

namespace lynx::testing {

// Runs `test` in the emulator under several orders of blocks and threads, with asynchronous copies
// that land at once and as late as they may; asserts that shared memory had no bank
// conflict. On a GPU: runs it once.
void ForEachSchedule(const std::function<void()>& test);

}  // namespace lynx::testing
