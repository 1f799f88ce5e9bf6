// The launch that the gated activations share: out = bf16(op(gate, up)) for every element.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.cuh"
#include "runtime/bf16.h"

namespace lynx::cuda {

inline constexpr int kGatedThreads = 256;

template <typename Params, float (*kOp)(float gate, float up)>
__global__ void __launch_bounds__(kGatedThreads) GatedMulKernel(const Params p) {
  const int64_t column = int64_t{blockIdx.x} * kGatedThreads + threadIdx.x;
  if (column >= p.columns) return;
  for (int64_t row = blockIdx.y; row < p.rows; row += gridDim.y) {
    const float* gate = p.gate_up + row * 2 * p.columns + column;
    p.out[row * p.columns + column] = ToBf16(kOp(gate[0], gate[p.columns]));
  }
}

template <typename Params, float (*kOp)(float gate, float up)>
cudaError_t LaunchGatedMul(const char* name, const Params& params, cudaStream_t stream) {
  if (params.rows == 0 || params.columns == 0) return cudaSuccess;
  const auto blocks = static_cast<unsigned>((params.columns + kGatedThreads - 1) / kGatedThreads);
  const auto rows = static_cast<unsigned>(params.rows < 65535 ? params.rows : 65535);
  return Launch(name, GatedMulKernel<Params, kOp>, dim3(blocks, rows), dim3(kGatedThreads), 0,
                stream, params);
}

}  // namespace lynx::cuda
