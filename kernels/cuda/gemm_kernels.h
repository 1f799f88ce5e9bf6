// The kernels behind Gemm, which has checked the parameters. Each gives the same bits.
#pragma once

#include "kernels/cuda/gemm.h"

namespace lynx::cuda {

inline constexpr int64_t kFewRows = 16;

// For m <= kFewRows, as fast as the weights can be read.
cudaError_t GemmFewRows(const GemmParams& params, cudaStream_t stream);
// For any m, in tiles of 64 x 64 or 128 x 128 results. Large ones read operands half as often.
cudaError_t GemmTiles64(const GemmParams& params, cudaStream_t stream);
cudaError_t GemmTiles128(const GemmParams& params, cudaStream_t stream);

}  // namespace lynx::cuda
