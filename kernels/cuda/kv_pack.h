// Tokens of BF16 pages to and from packed form ([token][K, V][kv_heads][head_dim], how sinks and a
// prompt's partial last page travel), a batch in one launch. Moves PackedTokenBytes a token, read
// and written once.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/kv_split.h"

namespace lynx::cuda {

// Tokens [begin, end) of one page. Both sides are aligned to 16 bytes; either may be pinned host
// memory.
struct PackJob {
  std::byte* page = nullptr;    // BF16 page
  std::byte* packed = nullptr;  // [end - begin] packed tokens
  int32_t begin = 0;
  int32_t end = 0;
};
struct PackParams {
  KvShape shape{};                // head_dim 64, 128 or 256
  const PackJob* jobs = nullptr;  // [count], on the device
  int64_t count = 0;
};
cudaError_t PackTokens(const PackParams& params, cudaStream_t stream);    // page to packed
cudaError_t UnpackTokens(const PackParams& params, cudaStream_t stream);  // packed to page

}  // namespace lynx::cuda
