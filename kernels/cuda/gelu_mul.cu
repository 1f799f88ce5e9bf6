#include "kernels/cuda/gated_mul.cuh"
#include "kernels/cuda/gelu_mul.h"
#include "kernels/linear_inl.h"

namespace lynx::cuda {

cudaError_t GeluMul(const GeluMulParams& params, cudaStream_t stream) {
  return LaunchGatedMul<GeluMulParams, GeluMulOf<float>>("GeluMul", params, stream);
}

}  // namespace lynx::cuda
