#include "kernels/cuda/gated_mul.cuh"
#include "kernels/cuda/silu_mul.h"
#include "kernels/linear_inl.h"

namespace lynx::cuda {

cudaError_t SiluMul(const SiluMulParams& params, cudaStream_t stream) {
  return LaunchGatedMul<SiluMulParams, SiluMulOf<float>>("SiluMul", params, stream);
}

}  // namespace lynx::cuda
