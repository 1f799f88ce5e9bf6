// Products by cuBLASLt, with one pinned algorithm for each. Bytes: 2 n k of weights, 2 m k of
// inputs, 4 m n of outputs; 2 m n k FLOPs.
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

// The library's handle, and one workspace that all products on one stream share.
class CublasLt {
 public:
  static absl::StatusOr<std::unique_ptr<CublasLt>> Create(size_t workspace_bytes);
  cublasLtHandle_t handle() const { return handle_.get(); }
  std::byte* workspace() const { return workspace_.data(); }
  size_t workspace_bytes() const { return workspace_.bytes(); }

 private:
  struct Destroy {
    void operator()(cublasLtHandle_t handle) const { cublasLtDestroy(handle); }
  };
  CublasLt() = default;
  std::unique_ptr<std::remove_pointer_t<cublasLtHandle_t>, Destroy> handle_;
  DeviceBuffer<std::byte> workspace_;
};

struct CublasLtShape {
  int64_t n = 0;  // outputs, a multiple of 4
  int64_t k = 0;  // inputs, a multiple of 8
  bool bias = false;
};

struct CublasLtArgs {
  const bf16* a = nullptr;      // [m, k], row stride lda; 16-byte aligned
  int64_t lda = 0;              // a multiple of 8, >= k
  const bf16* w = nullptr;      // [n, k], rows without gaps; 16-byte aligned
  float* c = nullptr;           // [m, n], row stride ldc; 16-byte aligned
  int64_t ldc = 0;              // a multiple of 4, >= n
  const float* bias = nullptr;  // [n], 16-byte aligned; given where the shape has it
  bool accumulate = false;      // c += the product
  int64_t m = 0;                // > 0
};

// The product of one weight shape by one algorithm, the same for every m.
class CublasLtGemm {
 public:
  // The library's suggestions for `rows` rows, best first, without those that split k or need more
  // workspace than there is. May be empty. `cublaslt` outlives them.
  static absl::StatusOr<std::vector<CublasLtGemm>> Suggestions(const CublasLt& cublaslt,
                                                               const CublasLtShape& shape,
                                                               int64_t rows);

  // Queues the product. UNIMPLEMENTED if the algorithm does not take this m.
  absl::Status Run(const CublasLtArgs& args, cudaStream_t stream) const;

  // The algorithm's configuration: "lt<id>.<tile>.<stages>.<custom>.<swizzle>.<inner>.<cluster>".
  const std::string& id() const { return id_; }

 private:
  CublasLtGemm(const CublasLt& cublaslt, const CublasLtShape& shape,
               const cublasLtMatmulAlgo_t& algorithm, std::string id)
      : cublaslt_(&cublaslt), shape_(shape), algorithm_(algorithm), id_(std::move(id)) {}

  const CublasLt* cublaslt_;
  CublasLtShape shape_;
  cublasLtMatmulAlgo_t algorithm_;
  std::string id_;
};

}  // namespace lynx::cuda
