// Attention of few query rows over paged KV: plain decoding, drafting and verification, one kernel
// for all three. (Prefill: prefill_attention.h.)
//
// Shape of the work: the rows of a sequence times the query heads of a KV head are packed into
// tiles of 16 rows, the M side of mma.m16n8k16. A block of four warps computes one tile, one KV
// head and one split, page by page: warp w scores tokens 16 w .. of the page, then gathers channels
// w * head_dim / 4 .. of the output. Splits are 8 pages at fixed absolute positions; their partial
// results are merged in order by a second kernel. 8, because a context of 8,192 tokens with 8 KV
// heads then fills a GPU of 132 SMs, while partials (16 rows at most, float32, written and read
// once) stay at an eighth of the bytes of the full code and mostly in L2.
//
// Arithmetic of a page, for a query row q (after RoPE); f(x) = x rounded to float32, h(x) = x
// rounded to BF16, both to nearest even; mma sums products in float32, in the hardware's order:
//   BF16 page:   s_t = sum_c h(q_c * scale) * k_tc
//   Anchor page: s_t = sum_c h(f(f(q_c * scale) * step_c)) * A_tc + b
//   full page:   s_t = sum_c (h(x_c) + h(x_c - h(x_c))) * q_tc + b,  x_c = f(f(q_c * scale) *
//   step_c)
//     The integers are exact in BF16. step and offset are ScaleOf's (kv_split_inl.h), b = sum_c
//     f(q_c * scale) * offset_c in float32. The two BF16 numbers hold 16 bits of x, so that the
//     error stays some 2^-17 a product, far below the 8-bit code's own; a draft does with one.
//   m' = max(m, s_t), alpha = Exp(m - m'), p_t = Exp(s_t - m'), 0 for tokens that the row does not
//   see; then p_t is rounded to BF16, on full pages to a sum of two BF16 numbers as above
//   sum = sum_t p_t;  l = fma(l, alpha, sum);  v_c = sum_t p_t * (v_tc or integer)
//   code page:   v_c = fma(step_c, v_c, f(offset_c * sum))
//   o_c = fma(o_c, alpha, v_c);  the output is h(o_c / l + 0)
// The sinks of a code page 0 are read first, as a BF16 page of their own with kSinkTokens tokens.
// A page whose tokens a row does not see leaves no trace in it but the sign of a zero, which the +
// 0 takes out: rows that see different tokens may share a tile. A row's bits depend on its own
// position and on what it sees, not on its place, its neighbours or later pages, as long as the
// values of V that its tile sees are finite (a BF16 page may hold infinities; 0 times one is NaN).
// Memory without a valid token is not read: such rows of a page are filled with zeros.
//
// Bytes of a page and KV head, read once a tile: BF16 256 * head_dim, code (6 + 8 * (bits of K plus
// bits of V)) * head_dim. FLOPs: 4 * 64 * 16 * head_dim for a BF16 or Anchor page, twice that for a
// full one.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cuda/kv_pages.h"
#include "kernels/kv_split.h"
#include "runtime/bf16.h"

namespace lynx::cuda {

inline constexpr int kAttentionTileRows = 16;

// One sequence's part in a step; the same for all layers.
struct AttentionSequence {
  const PageRef* pages = nullptr;           // [layers, page_stride], of one view
  const std::byte* const* sinks = nullptr;  // [layers], each page 0's first kSinkTokens tokens,
                                            // packed; read if page 0 is code, else may be null
  const int32_t* slots = nullptr;  // rows of a tree: position p >= slot_begin of this sequence is
                                   // held where a plain sequence would hold position
                                   // slots[p - slot_begin]. Null: everything is in its place.
  int64_t slot_begin = 0;          // behind all code pages
  int64_t page_stride = 0;
  int64_t first_position = 0;  // row i stands at first_position + i; its own KV is in the pages
  int32_t row_begin = 0;       // row 0's row in q and out
  int32_t rows = 0;            // 1 if there are slots: each node of a tree is a sequence
};

// The work of a step, in device arrays made from an AttentionPlan.
struct AttentionTile {
  int32_t sequence = 0;
  int32_t packed_begin = 0;  // of the sequence's rows * (q_heads / kv_heads), a multiple of 16
  int32_t first_item = 0;    // its items follow one another
  int32_t items = 0;
};
struct AttentionItem {
  int32_t tile =
      0;  // negative: there is no such item, so that a launch may be larger than its plan
  int32_t split = 0;  // of kAttentionSplitPages pages
};
struct AttentionPlan {
  std::vector<AttentionTile> tiles;
  std::vector<AttentionItem> items;
};

// What the plan depends on.
struct AttentionRows {
  int64_t first_position = 0;
  int32_t rows = 0;
};
// The plan for a batch of sequences, on the host. `plan` is overwritten.
void PlanAttention(std::span<const AttentionRows> sequences, int q_heads, int kv_heads,
                   int64_t window, AttentionPlan* plan);

// A run of tiles with their items, as a launch of its own: what one launch needs of `partials` has
// a limit, whatever the plan. Indices in its tiles and items count from the part's beginning.
struct AttentionPart {
  int32_t tile_begin = 0, tile_count = 0;
  int32_t item_begin = 0, item_count = 0;
};
// Cuts the plan into parts of at most items_max items, which is no less than those of one tile.
void CutAttentionPlan(int64_t items_max, AttentionPlan* plan, std::vector<AttentionPart>* parts);

// Floats of `partials` for a plan of so many items.
size_t AttentionPartialFloats(KvShape shape, size_t items);

struct AttentionParams {
  KvShape shape{};     // head_dim 64, 128 or 256
  KvSplit split{};     // of code pages
  int q_heads = 0;     // a multiple of shape.kv_heads
  float scale = 0;     // of the scores
  int64_t window = 0;  // a row sees its last `window` positions, its own included; 0: all
  int64_t layer = 0;
  const AttentionSequence* sequences = nullptr;
  const AttentionTile* tiles = nullptr;  // [tile_count]
  const AttentionItem* items = nullptr;  // [item_count]
  int64_t tile_count = 0;
  int64_t item_count = 0;
  const float* q = nullptr;  // [rows, q_heads, head_dim] after RoPE, row stride q_stride floats
  int64_t q_stride = 0;
  float* partials = nullptr;  // scratch, AttentionPartialFloats
  bf16* out = nullptr;        // [rows, q_heads * head_dim], row stride out_stride
  int64_t out_stride = 0;
};
// cudaErrorInvalidValue for a shape or split that is not supported.
cudaError_t Attention(const AttentionParams& params, cudaStream_t stream);

}  // namespace lynx::cuda
