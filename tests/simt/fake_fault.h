// Says what a memory fault was about, when it was about device memory.
#pragma once

#include "fake_memory.h"

namespace simt::fake {

// For the whole process; `memory` must live on. A fault of a kernel ends that kernel. A fault of
// the host is explained and then goes the way it would have gone. Again at every call of CUDA: test
// frameworks install handlers, and remove ours with theirs.
void EnsureFaultHandler(const DeviceMemory& memory);

// A stack of its own for the handler on this thread, whose stacks may be full.
void EnsureSignalStack();

}  // namespace simt::fake
