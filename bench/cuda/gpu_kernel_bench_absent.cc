// Builds without the CUDA backend.
#include "bench/cuda/gpu_kernel_bench.h"

namespace lynx::bench {

absl::StatusOr<GpuKernelReport> RunGpuKernelBench(const GpuBenchOptions&) {
  return absl::UnimplementedError(
      "this build has no CUDA backend: configure with LYNX_CUDA=cuda (preset cuda)");
}

}  // namespace lynx::bench
