#include "kernels/cuda/device.cuh"
#include "kernels/cuda/silu_mul.h"
#include "kernels/linear_inl.h"

namespace lynx::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) SiluMulKernel(const SiluMulParams p) {
  const int64_t column = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (column >= p.columns) return;
  for (int64_t row = blockIdx.y; row < p.rows; row += gridDim.y) {
    const float* gate = p.gate_up + row * 2 * p.columns + column;
    p.out[row * p.columns + column] = ToBf16(SiluMulOf<float>(gate[0], gate[p.columns]));
  }
}

}  // namespace

cudaError_t SiluMul(const SiluMulParams& params, cudaStream_t stream) {
  if (params.rows == 0) return cudaSuccess;
  const auto blocks = static_cast<unsigned>((params.columns + kThreads - 1) / kThreads);
  const auto rows = static_cast<unsigned>(params.rows < 65535 ? params.rows : 65535);
  return Launch("SiluMul", SiluMulKernel, dim3(blocks, rows), dim3(kThreads), 0, stream, params);
}

}  // namespace lynx::cuda
