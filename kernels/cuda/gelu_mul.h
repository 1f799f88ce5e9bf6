// out = bf16(gelu_tanh(gate) * up). Reads 8 bytes and writes 2 for each output; about 30 FLOPs.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "runtime/bf16.h"

namespace lynx::cuda {

struct GeluMulParams {
  const float* gate_up = nullptr;  // [rows, 2, columns]
  bf16* out = nullptr;             // [rows, columns]
  int64_t rows = 0;
  int64_t columns = 0;
};
cudaError_t GeluMul(const GeluMulParams& params, cudaStream_t stream);

}  // namespace lynx::cuda
