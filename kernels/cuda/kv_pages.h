// A KV page as the CUDA kernels read it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/attention.h"

namespace lynx::cuda {

// One page of one layer, in device memory (or pinned host memory that the device reaches). Not
// owning. A view of a sequence is a device array [layers, pages] of them.
struct PageRef {
  const std::byte* data = nullptr;      // BF16 page or Anchor block, aligned to 16 bytes
  const std::byte* residual = nullptr;  // kFull: Residual block, aligned to 16 bytes; null if both
                                        // widths are 8
  int32_t kind = 0;                     // a KvPageKind
  int32_t pad = 0;
};
static_assert(sizeof(PageRef) == 24);

constexpr int32_t KindOf(KvPageKind kind) { return static_cast<int32_t>(kind); }

}  // namespace lynx::cuda
