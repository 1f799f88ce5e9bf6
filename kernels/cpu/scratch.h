// Memory that a kernel works in, kept for each thread so that no call allocates once it has grown.
#pragma once

#include <cstddef>

namespace lynx {

// At least `bytes`, aligned to 64; contents are whatever the thread's last user left. Valid until
// the thread's next call. Not in a tier's file, because the tiers must share no inline code
// (kernels/cpu/simd.h).
std::byte* ThreadScratch(size_t bytes);

}  // namespace lynx
