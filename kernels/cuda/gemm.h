// c[i, j] (+)= sum_k a[i, k] * w[j, k] (+ bias[j]): our own BF16 product on tensor cores, the same
// bits for a row of `a` alone, in any batch and at any place in it.
//
// One order of summation, which (k) alone decides: k is cut into chunks of 64, the chunks into 8
// parts of consecutive chunks. A part is one chain of mma.m16n8k16 from 0 in ascending k; the parts
// are added to 0 in ascending order, then bias, then the old c if `accumulate`. Every kernel below
// keeps to it, so which of them runs is a question of speed only:
//   m <= 16   a block takes 16 or 32 columns, each of its 8 warps one part (bound by reading w);
//   else      tiles of 64 x 64 results, or of 128 x 128 where these are enough for all SMs.
// Reads 2 n k bytes of weights once for m <= 16 (once for each tile of rows above, mostly from L2),
// and `a` once for each tile of columns; writes 4 m n (with accumulate, reads them too). 2 m n k
// FLOPs.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "runtime/bf16.h"

namespace lynx::cuda {

struct GemmParams {
  const bf16* a = nullptr;      // [m, k], row stride lda; 16-byte aligned
  int64_t lda = 0;              // a multiple of 8, >= k
  const bf16* w = nullptr;      // [n, k], rows without gaps; 16-byte aligned
  float* c = nullptr;           // [m, n], row stride ldc
  int64_t ldc = 0;              // >= n
  const float* bias = nullptr;  // [n] or null
  bool accumulate = false;
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;  // a multiple of 16
};
// cudaErrorInvalidValue for sizes, strides or addresses other than these. m or n of 0: nothing to
// do.
cudaError_t Gemm(const GemmParams& params, cudaStream_t stream);

}  // namespace lynx::cuda
