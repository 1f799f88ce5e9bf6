#include "kernels/cuda/device.cuh"
#include "kernels/cuda/rms_norm.h"
#include "kernels/linear_inl.h"

namespace lynx::cuda {
namespace {

// One block takes one row, with as many threads for every row: thread t sums elements t, t + 512,
// ... as one chain, the lanes of a warp add up pairwise, the warps in ascending order.
constexpr int kThreads = 512;
constexpr int kWarps = kThreads / 32;

LYNX_DEVICE float SumOverBlock(float sum, float* warp_sums) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    sum += __shfl_xor_sync(~0u, sum, distance);
  }
  if (threadIdx.x % 32 == 0) warp_sums[threadIdx.x / 32] = sum;
  __syncthreads();
  sum = 0;
#pragma unroll
  for (int warp = 0; warp < kWarps; ++warp) sum += warp_sums[warp];
  return sum;
}

// The row's sum of squares as this thread sees it, after x += delta.
LYNX_DEVICE float AddAndSquare(float* x, const float* delta, int64_t hidden) {
  float sum = 0;
#pragma unroll 4
  for (int64_t i = threadIdx.x; i < hidden; i += kThreads) {
    float value = x[i];
    if (delta != nullptr) x[i] = value += delta[i];
    sum = Fma(value, value, sum);
  }
  return sum;
}

__global__ void __launch_bounds__(kThreads) RmsNormKernel(const RmsNormParams p) {
  SmemAlloc smem;
  float* warp_sums = smem.Take<float>(kWarps);
  const int64_t row = blockIdx.x;
  float* x = p.x + (p.row_index != nullptr ? p.row_index[row] : row) * p.hidden;
  const float* delta = p.delta != nullptr ? p.delta + row * p.hidden : nullptr;
  const float sum = SumOverBlock(AddAndSquare(x, delta, p.hidden), warp_sums);
  const float inverse = InverseRms(sum, p.hidden, p.eps);
#pragma unroll 4
  for (int64_t i = threadIdx.x; i < p.hidden; i += kThreads) {
    p.out[row * p.hidden + i] = ToBf16(x[i] * inverse * p.weight[i]);
  }
}

}  // namespace

cudaError_t RmsNorm(const RmsNormParams& params, cudaStream_t stream) {
  if (params.delta != nullptr && params.row_index != nullptr) return cudaErrorInvalidValue;
  if (params.rows == 0 || params.hidden == 0) return cudaSuccess;
  return Launch("RmsNorm", RmsNormKernel, dim3(static_cast<unsigned>(params.rows)), dim3(kThreads),
                kWarps * sizeof(float), stream, params);
}

}  // namespace lynx::cuda
