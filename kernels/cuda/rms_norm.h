// x += delta; out = bf16(x / sqrt(mean(x^2) + eps) * weight), row by row. The sum of squares has
// one order, whatever rows stand beside it. Reads 4 bytes and writes 2 for each output (with delta:
// reads 8, writes 6; a row longer than 8192 is read twice); 4 FLOPs each.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "runtime/bf16.h"

namespace lynx::cuda {

struct RmsNormParams {
  float* x = nullptr;                  // [rows, hidden]; written only where delta is given
  const float* delta = nullptr;        // [rows, hidden] or null; not with row_index
  const float* weight = nullptr;       // [hidden]
  const int32_t* row_index = nullptr;  // [rows] or null: output row i is x's row row_index[i]
  bf16* out = nullptr;                 // [rows, hidden]
  int64_t rows = 0;
  int64_t hidden = 0;
  float eps = 0;
};
// cudaErrorInvalidValue for delta beside row_index.
cudaError_t RmsNorm(const RmsNormParams& params, cudaStream_t stream);

}  // namespace lynx::cuda
