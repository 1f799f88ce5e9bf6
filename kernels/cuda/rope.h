// Splits the rows of the product of Wqkv: rotates Q and K by their positions' angles (the pairs are
// (i, i + head_dim / 2)), writes Q as it is read by attention, and K and V as BF16 into the rows'
// own places of their pages (kernels/cuda/kv_layout_inl.h). Reads 4 bytes and writes 4 (Q) or 2 (K,
// V) for each number, 3 FLOPs for each of Q and K.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/kv_pages.h"

namespace lynx::cuda {

// Where a row's keys and values are put.
struct RowPlace {
  const PageRef* page = nullptr;  // [layers], layer_stride apart: the BF16 page that holds the row
  int64_t layer_stride = 0;
  int32_t token_in_page = 0;  // in [0, 64)
  int32_t pad = 0;
};

struct RopeWriteKvParams {
  const float* qkv = nullptr;      // [rows, q_heads + 2 kv_heads, head_dim]: Q, K, V
  const float* cos_sin = nullptr;  // [rows, 2, head_dim / 2], of the rows' positions
  float* q = nullptr;    // [rows, q_heads, head_dim], row stride q_stride; may be qkv itself
  int64_t q_stride = 0;  // >= q_heads * head_dim
  const RowPlace* places = nullptr;  // [rows]
  int64_t layer = 0;
  int64_t rows = 0;
  int64_t q_heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;  // even
};
// No two rows may have the same place. cudaErrorInvalidValue for an odd head_dim or a short
// q_stride.
cudaError_t RopeWriteKv(const RopeWriteKvParams& params, cudaStream_t stream);

}  // namespace lynx::cuda
