// Causal attention of many query rows over BF16 pages: the prefill's chunks.
//
// A block of four warps computes a tile of 128 packed query rows (rows times the query heads of a
// KV head; 64 for head_dim 256) over all pages that some row of it sees, without splits. A warp's
// two tiles of 16 rows share each load of K and V from shared memory, which otherwise could not
// keep up with the tensor cores.
//
// Arithmetic: that of a BF16 page in attention.h, but in steps of 32 tokens at fixed positions,
// whose scores fit the registers, and the products of P and V are summed onto o_c * alpha by mma
// itself. A row's sum runs over its steps in order and a weight of 0 adds nothing, so that its bits
// are the same for every chunking. (They need not equal those of Attention, which has splits.) As
// there, memory without a valid token is not read, and V must be finite.
//
// Bytes of a page and KV head: 256 * head_dim, read once a tile. FLOPs: 4 * 64 * head_dim a row; 64
// Exp a row.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/kv_pages.h"
#include "kernels/kv_split.h"
#include "runtime/bf16.h"

namespace lynx::cuda {

// One sequence's chunk.
struct PrefillSequence {
  const PageRef* pages = nullptr;  // [layers, page_stride], all of kind kBf16
  int64_t page_stride = 0;
  int64_t first_position = 0;  // row i stands at first_position + i; its own KV is in the pages
  int32_t row_begin = 0;       // row 0's row in q and out
  int32_t rows = 0;
};

struct PrefillAttentionParams {
  KvShape shape{};     // head_dim 64, 128 or 256
  int q_heads = 0;     // a multiple of shape.kv_heads
  float scale = 0;     // of the scores
  int64_t window = 0;  // a row sees its last `window` positions, its own included; 0: all
  int64_t layer = 0;
  const PrefillSequence* sequences = nullptr;  // [sequence_count], on the device
  int64_t sequence_count = 0;
  int64_t max_rows = 0;      // of one sequence
  const float* q = nullptr;  // [rows, q_heads, head_dim] after RoPE, row stride q_stride floats
  int64_t q_stride = 0;
  bf16* out = nullptr;  // [rows, q_heads * head_dim], row stride out_stride
  int64_t out_stride = 0;
};
// cudaErrorInvalidValue for a shape that is not supported.
cudaError_t PrefillAttention(const PrefillAttentionParams& params, cudaStream_t stream);

}  // namespace lynx::cuda
