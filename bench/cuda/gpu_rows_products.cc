// Our own products and cuBLASLt's, with the weights of a layer of 8 billion parameters.
#include "bench/cuda/gpu_bench.h"
#include "kernels/cuda/cublaslt_gemm.h"
#include "kernels/cuda/gemm.h"

namespace lynx::bench {
namespace {

using cuda::ToStatus;

constexpr int64_t kRows[] = {1, 2, 5, 16, 65, 130, 512};
constexpr int64_t kMostRows = 512;

struct Layer {
  int64_t n, k;
};

// One layer's operands on the device.
struct Operands {
  Layer layer;
  cuda::DeviceBuffer<bf16> w, a;
  cuda::DeviceBuffer<float> c;
};

absl::StatusOr<Operands> MakeOperands(Layer layer, cudaStream_t stream) {
  Operands operands{.layer = layer, .w = {}, .a = {}, .c = {}};
  ASSIGN_OR_RETURN(operands.w, RandomBf16s(layer.n * layer.k, stream));
  ASSIGN_OR_RETURN(operands.a, RandomBf16s(kMostRows * layer.k, stream));
  ASSIGN_OR_RETURN(operands.c,
                   cuda::DeviceBuffer<float>::Create(static_cast<size_t>(kMostRows * layer.n)));
  return operands;
}

absl::Status AddOwn(GpuBench& bench, const Operands& operands, int64_t m, const std::string& shape,
                    double bytes, double operations) {
  const auto [n, k] = operands.layer;
  const cuda::GemmParams params = {.a = operands.a.data(),
                                   .lda = k,
                                   .w = operands.w.data(),
                                   .c = operands.c.data(),
                                   .ldc = n,
                                   .m = m,
                                   .n = n,
                                   .k = k};
  return bench.Add("gemm", shape, bytes, operations,
                   [&] { return ToStatus(cuda::Gemm(params, bench.stream()), "the product"); });
}

// The algorithm that the library ranks first for so many rows.
absl::Status AddLibrary(GpuBench& bench, const cuda::CublasLt& cublaslt, const Operands& operands,
                        int64_t m, const std::string& shape, double bytes, double operations) {
  if (!bench.Wants("cublaslt")) return absl::OkStatus();
  const auto [n, k] = operands.layer;
  ASSIGN_OR_RETURN(const auto suggestions,
                   cuda::CublasLtGemm::Suggestions(cublaslt, {.n = n, .k = k}, m));
  if (suggestions.empty()) return absl::OkStatus();
  const cuda::CublasLtArgs args = {.a = operands.a.data(),
                                   .lda = k,
                                   .w = operands.w.data(),
                                   .c = operands.c.data(),
                                   .ldc = n,
                                   .m = m};
  return bench.Add("cublaslt", shape, bytes, operations,
                   [&] { return suggestions.front().Run(args, bench.stream()); });
}

}  // namespace

absl::Status AddProductRows(GpuBench& bench) {
  if (!bench.Wants("gemm") && !bench.Wants("cublaslt")) return absl::OkStatus();
  const std::vector<Layer> layers =
      bench.tiny() ? std::vector<Layer>{{32, 64}}
                   : std::vector<Layer>{{6144, 4096}, {4096, 4096}, {28672, 4096}, {4096, 14336}};
  ASSIGN_OR_RETURN(const auto cublaslt, cuda::CublasLt::Create(size_t{32} << 20));
  for (const Layer layer : layers) {
    ASSIGN_OR_RETURN(const Operands operands, MakeOperands(layer, bench.stream()));
    const auto [n, k] = layer;
    for (const int64_t m : kRows) {
      const std::string shape = absl::StrCat("m=", m, " n=", n, " k=", k);
      const auto bytes = static_cast<double>(2 * n * k + 2 * m * k + 4 * m * n);
      const double operations = 2.0 * static_cast<double>(m * n * k);
      RETURN_IF_ERROR(AddOwn(bench, operands, m, shape, bytes, operations));
      RETURN_IF_ERROR(AddLibrary(bench, *cublaslt, operands, m, shape, bytes, operations));
    }
  }
  return absl::OkStatus();
}

}  // namespace lynx::bench
