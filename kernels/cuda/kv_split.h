// BF16 pages to the code P64 (kernels/kv_split.h), a batch in one launch. The numbers are the
// CPU's; the layout is kv_layout_inl.h's. A page is read once: 256 * head_dim bytes for each KV
// head, and head_dim * (6 + 128) written. About 10 FLOPs a value.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/kv_split.h"

namespace lynx::cuda {

// One page. Blocks are aligned to 16 bytes; they, the jobs and the flags may lie in pinned host
// memory.
struct SplitPageJob {
  const std::byte* page = nullptr;  // BF16 page, all 64 tokens valid
  std::byte* anchor = nullptr;      // AnchorBlockBytes
  std::byte* residual = nullptr;    // ResidualBlockBytes; null: not wanted
  int32_t first_token = 0;          // 0, or kSinkTokens for page 0
  int32_t pad = 0;
};

struct SplitPagesParams {
  KvShape shape{};                     // head_dim 64, 128 or 256
  KvSplit split{};                     // bits 3 to 8
  const SplitPageJob* jobs = nullptr;  // [count]
  int64_t count = 0;
  int32_t* raw = nullptr;  // [count]: 1 if the page has no code (Inf, NaN, a step
                           // beyond k = 127; its blocks are then unspecified), else 0
};
// cudaErrorInvalidValue for a shape or split that is not supported.
cudaError_t SplitPages(const SplitPagesParams& params, cudaStream_t stream);

}  // namespace lynx::cuda
