// What the GPU can do at best: copies of its memory, and products of large matrices.
#include <algorithm>
#include <cmath>

#include "bench/cuda/gpu_bench.h"
#include "kernels/cuda/cublaslt_gemm.h"

namespace lynx::bench {
namespace {

using cuda::ToStatus;

absl::StatusOr<double> BestSeconds(GpuBench& bench, GpuCall call) {
  ASSIGN_OR_RETURN(const std::vector<double> seconds, bench.Durations(call));
  return *std::min_element(seconds.begin(), seconds.end());
}

absl::StatusOr<double> CopyBytesPerSecond(GpuBench& bench) {
  const size_t bytes = bench.tiny() ? size_t{1} << 16 : size_t{1} << 30;
  ASSIGN_OR_RETURN(const auto from, cuda::DeviceBuffer<std::byte>::Create(bytes));
  ASSIGN_OR_RETURN(const auto to, cuda::DeviceBuffer<std::byte>::Create(bytes));
  RETURN_IF_ERROR(ToStatus(cudaMemsetAsync(from.data(), 1, bytes, bench.stream()), "memset"));
  ASSIGN_OR_RETURN(const double seconds, BestSeconds(bench, [&] {
                     return ToStatus(cudaMemcpyAsync(to.data(), from.data(), bytes,
                                                     cudaMemcpyDeviceToDevice, bench.stream()),
                                     "a copy on the device");
                   }));
  return 2 * static_cast<double>(bytes) / seconds;
}

absl::StatusOr<double> ProductFlopsPerSecond(GpuBench& bench) {
  const int64_t size = bench.tiny() ? 64 : 8192;
  ASSIGN_OR_RETURN(const auto cublaslt, cuda::CublasLt::Create(size_t{32} << 20));
  ASSIGN_OR_RETURN(const auto w, RandomBf16s(size * size, bench.stream()));
  ASSIGN_OR_RETURN(const auto a, RandomBf16s(size * size, bench.stream()));
  ASSIGN_OR_RETURN(const auto c,
                   cuda::DeviceBuffer<float>::Create(static_cast<size_t>(size * size)));
  ASSIGN_OR_RETURN(const auto suggestions,
                   cuda::CublasLtGemm::Suggestions(*cublaslt, {.n = size, .k = size}, size));
  if (suggestions.empty()) return absl::InternalError("cuBLASLt knows no product of this size");
  double best = HUGE_VAL;
  for (const cuda::CublasLtGemm& gemm : suggestions) {
    ASSIGN_OR_RETURN(
        const double seconds, BestSeconds(bench, [&] {
          return gemm.Run(
              {.a = a.data(), .lda = size, .w = w.data(), .c = c.data(), .ldc = size, .m = size},
              bench.stream());
        }));
    best = std::min(best, seconds);
    if (bench.tiny()) break;
  }
  const auto side = static_cast<double>(size);
  return 2 * side * side * side / best;
}

}  // namespace

absl::Status GpuBench::MeasureRoofline() {
  ASSIGN_OR_RETURN(report_.roofline.bytes_per_s, CopyBytesPerSecond(*this));
  ASSIGN_OR_RETURN(report_.roofline.flops_per_s, ProductFlopsPerSecond(*this));
  return absl::OkStatus();
}

}  // namespace lynx::bench
