#include "kernels/cuda/device.cuh"
#include "kernels/cuda/embed.h"

namespace lynx::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) EmbedKernel(const EmbedParams p) {
  const int64_t column = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (column >= p.hidden) return;
  for (int64_t row = blockIdx.y; row < p.rows; row += gridDim.y) {
    p.out[row * p.hidden + column] = ToFloat(p.table[p.tokens[row] * p.hidden + column]);
  }
}

}  // namespace

cudaError_t Embed(const EmbedParams& params, cudaStream_t stream) {
  if (params.rows == 0 || params.hidden == 0) return cudaSuccess;
  const auto blocks = static_cast<unsigned>((params.hidden + kThreads - 1) / kThreads);
  const auto rows = static_cast<unsigned>(params.rows < 65535 ? params.rows : 65535);
  return Launch("Embed", EmbedKernel, dim3(blocks, rows), dim3(kThreads), 0, stream, params);
}

}  // namespace lynx::cuda
