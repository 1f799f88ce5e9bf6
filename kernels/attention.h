// Attention of query rows over paged KV, for prefill, plain decoding, drafting and verification: one arithmetic.
//
// A row at position p attends to positions 0..p. The sum is split at fixed absolute positions (page borders, and
// splits of kAttentionSplitPages pages whose partial results are merged in order), so that a row has the same bits
// alone, in a batch, in a verification pass and for every chunking of the prefill.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/kv_split.h"
#include "runtime/bf16.h"

namespace lynx {

inline constexpr int kAttentionSplitPages = 8;

enum class KvPageKind : uint8_t {
  kBf16,    // data = BF16 page
  kAnchor,  // data = Anchor block; the Residual is not read
  kFull,    // data = Anchor block, residual = Residual block (null if both widths are 8)
};

// One page of one layer as attention reads it. Not owning.
struct KvPageRef {
  KvPageKind kind = KvPageKind::kBf16;
  const std::byte* data = nullptr;
  const std::byte* residual = nullptr;
};

// One sequence's rows in one layer.
struct AttentionArgs {
  KvShape shape;
  KvSplit split;
  int q_heads = 0;    // a multiple of shape.kv_heads; head h reads KV head h / (q_heads / kv_heads)
  float scale = 0;    // of the scores, usually 1 / sqrt(head_dim)
  int64_t rows = 0;
  int64_t first_position = 0;  // row i stands at first_position + i; its own KV is already in the pages
  const float* q = nullptr;    // [rows, q_heads, head_dim] after RoPE, row stride q_stride floats
  int64_t q_stride = 0;
  std::span<const KvPageRef> pages;  // covers positions 0 .. first_position + rows - 1
  const std::byte* sinks = nullptr;  // page 0's first kSinkTokens tokens, packed; read if page 0 is code
  bf16* out = nullptr;               // [rows, q_heads, head_dim]
};

// A part of the work that one worker does: KV head and a range of rows, or a range of splits of one row
// (kernels/parallel.h plans them and merges). Memory that holds no valid token may hold any bits, NaN too.
struct AttentionShare {
  int kv_head = 0;
  int64_t row_begin = 0, row_end = 0;
};

// Bytes of scratch that `attend` needs for one share.
size_t AttentionScratchBytes(const AttentionArgs& args, const AttentionShare& share);

}  // namespace lynx
