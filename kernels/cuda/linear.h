// A linear layer's product, c (+)= a w^T (+ bias), by our own Gemm or by one pinned algorithm of
// cuBLASLt. What a weight shape runs on is chosen and checked once, at start-up: within decoding
// (with drafting and verification), and within prefill, a row has the same bits alone, in every
// batch and at every place in it. Between the two they may differ.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "kernels/cuda/cublaslt_gemm.h"
#include "runtime/bf16.h"
#include "runtime/status.h"

namespace lynx::cuda {

enum class LinearPhase {
  kDecode,  // drafting, verification and plain decoding
  kPrefill
};

struct LinearPolicy {
  // Decoding reads the weights once for a few rows: our own kernel is made for that. cuBLASLt is
  // faster in prefill, where it is stable; else our own kernel takes its place.
  bool cublaslt_in_decode = false;
  bool cublaslt_in_prefill = true;
  int64_t decode_rows = 16;    // what cuBLASLt ranks its algorithms for
  int64_t prefill_rows = 512;  // a full chunk: for ranking, and the most that the check computes
  size_t workspace_bytes = size_t{32} << 20;  // of cuBLASLt, on the device
  // Off: the first suggestion is taken unchecked. For tests, which make many backends.
  bool check = true;
};

struct LinearShape {
  int64_t n = 0;  // outputs
  int64_t k = 0;  // inputs, a multiple of 16
  bool bias = false;
  friend auto operator<=>(const LinearShape&, const LinearShape&) = default;
};

// One weight matrix on the device. Not owning.
struct LinearWeight {
  const bf16* w = nullptr;      // [n, k], 16-byte aligned
  const float* bias = nullptr;  // [n] or null, 16-byte aligned
  int64_t n = 0;
  int64_t k = 0;  // a multiple of 16
};

struct LinearArgs {
  const bf16* a = nullptr;  // [m, k], row stride lda; 16-byte aligned
  int64_t lda = 0;          // a multiple of 8, >= k
  float* c = nullptr;       // [m, n], row stride ldc
  int64_t ldc = 0;          // >= n; for cuBLASLt a multiple of 4, with c 16-byte aligned
  int64_t m = 0;
  bool accumulate = false;
};

// What a weight shape's products run on; null: our own Gemm.
struct LinearPlan {
  std::unique_ptr<const CublasLtGemm> decode;
  std::unique_ptr<const CublasLtGemm> prefill;
};

// A weight with its plan. Copyable; the LinearPlans and the weight outlive it.
class Linear {
 public:
  Linear() = default;
  Linear(const LinearWeight& weight, const LinearPlan* plan) : weight_(weight), plan_(plan) {}
  // Queues the product. INTERNAL or INVALID_ARGUMENT if it cannot be launched.
  absl::Status Run(LinearPhase phase, const LinearArgs& args, cudaStream_t stream) const;

  int64_t n() const { return weight_.n; }
  int64_t k() const { return weight_.k; }

 private:
  LinearWeight weight_;
  const LinearPlan* plan_ = nullptr;
};

// Plans by weight shape, and the cuBLASLt handle and workspace that they share: all products of one
// LinearPlans go to one stream. Engine thread only.
class LinearPlans {
 public:
  static absl::StatusOr<std::unique_ptr<LinearPlans>> Create(const LinearPolicy& policy);

  // The layer of `weight`. The first weight of a shape takes the time to choose and check a plan:
  // it allocates, reads the weight and synchronizes, so only at start-up. FAILED_PRECONDITION, with
  // the shape and the number of rows, if nothing is stable; INVALID_ARGUMENT for a weight that no
  // kernel takes.
  absl::StatusOr<Linear> Add(const LinearWeight& weight, cudaStream_t stream);

  // Shapes and algorithms, for the identity: servers of equal strings have equal bits on equal
  // devices.
  std::string Identity() const;

 private:
  using Pinned = std::unique_ptr<const CublasLtGemm>;
  explicit LinearPlans(const LinearPolicy& policy) : policy_(policy) {}
  absl::StatusOr<LinearPlan> Choose(const LinearWeight& weight, cudaStream_t stream) const;
  absl::StatusOr<Pinned> Pin(LinearPhase phase, const LinearWeight& weight,
                             cudaStream_t stream) const;

  const LinearPolicy policy_;
  std::unique_ptr<CublasLt> cublaslt_;  // null: not wanted
  std::map<LinearShape, LinearPlan> plans_;
};

}  // namespace lynx::cuda
