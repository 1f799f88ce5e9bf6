// Products by cuBLASLt with one pinned algorithm each. 2 n k bytes of weights, 2 m k of inputs and
// 4 m n of outputs; 2 m n k FLOPs.
#pragma once

#include <cublasLt.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "runtime/bf16.h"
#include "runtime/cuda/cuda_buffer.h"
#include "runtime/status.h"

namespace lynx::cuda {

struct CublasLtDeleter {
  void operator()(cublasLtHandle_t handle) const { cublasLtDestroy(handle); }
  void operator()(cublasLtMatmulDesc_t desc) const { cublasLtMatmulDescDestroy(desc); }
  void operator()(cublasLtMatrixLayout_t layout) const { cublasLtMatrixLayoutDestroy(layout); }
  void operator()(cublasLtMatmulPreference_t p) const { cublasLtMatmulPreferenceDestroy(p); }
};
template <typename Handle>
using CublasLtOwned = std::unique_ptr<std::remove_pointer_t<Handle>, CublasLtDeleter>;

// The library's handle and one workspace, which products on one stream share.
class CublasLt {
 public:
  static absl::StatusOr<std::unique_ptr<CublasLt>> Create(size_t workspace_bytes);
  cublasLtHandle_t handle() const { return handle_.get(); }
  std::byte* workspace() const { return workspace_.data(); }
  size_t workspace_bytes() const { return workspace_.bytes(); }

 private:
  CublasLtOwned<cublasLtHandle_t> handle_;
  DeviceBuffer<std::byte> workspace_;
};

struct CublasLtArgs {
  const bf16* a = nullptr;  // [m, k], row stride lda; 16-byte aligned
  int64_t lda = 0;
  const bf16* w = nullptr;  // [n, k], rows without gaps; 16-byte aligned
  float* c = nullptr;       // [m, n], row stride ldc; 16-byte aligned
  int64_t ldc = 0;
  const float* bias = nullptr;  // [n], given if and only if the product was made with bias
  bool accumulate = false;
  int64_t m = 0;
};

// One weight shape's product by one algorithm, the same for every m.
class CublasLtGemm {
 public:
  // The library's suggestions for `rows` rows, best first, without those that split k (their order
  // of summation follows m) or need more workspace than there is. May be empty.
  static absl::StatusOr<std::vector<std::unique_ptr<CublasLtGemm>>> Candidates(
      const CublasLt& cublaslt, int64_t n, int64_t k, bool bias, int64_t rows);

  // UNIMPLEMENTED if the algorithm does not take this m.
  absl::Status Run(const CublasLtArgs& args, cudaStream_t stream) const;

  // The algorithm's configuration, e.g. "lt66.t20.s35.k1.z0.c0.i0.g2".
  const std::string& id() const { return id_; }

 private:
  CublasLtGemm(const CublasLt& cublaslt, int64_t n, int64_t k, bool bias)
      : cublaslt_(cublaslt), n_(n), k_(k), bias_(bias) {}

  const CublasLt& cublaslt_;
  const int64_t n_, k_;
  const bool bias_;
  cublasLtMatmulAlgo_t algorithm_ = {};
  std::string id_;
};

}  // namespace lynx::cuda
