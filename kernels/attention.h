// Attention of query rows over paged KV, for prefill, plain decoding, drafting and verification:
// one arithmetic (attention_inl.h).
//
// A row at position p attends to positions 0..p, or to the last `window` of them. The sum is split
// at fixed absolute positions (page borders, and splits of kAttentionSplitPages pages whose partial
// results are merged in order), so that a row has the same bits alone, in a batch, in a
// verification pass and for every chunking of the prefill.
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

// One sequence's rows in one layer. Memory that holds no valid token may hold any bits, NaN too.
struct AttentionArgs {
  KvShape shape;
  KvSplit split{};
  int q_heads = 0;  // a multiple of shape.kv_heads; head h reads KV head h / (q_heads / kv_heads)
  float scale = 0;  // of the scores, usually 1 / sqrt(head_dim)
  int64_t window = 0;  // a row sees its last `window` positions, its own included; 0: all
  int64_t rows = 0;
  int64_t first_position = 0;  // row i stands at first_position + i; its own KV is in the pages
  const float* q = nullptr;    // [rows, q_heads, head_dim] after RoPE, row stride q_stride floats
  int64_t q_stride = 0;
  std::span<const KvPageRef> pages;  // covers positions 0 .. first_position + rows - 1; pages that
                                     // no row sees (before the window) are not read
  const std::byte* sinks = nullptr;  // page 0's first kSinkTokens tokens, packed; read if page 0 is
                                     // code
  bf16* out = nullptr;               // [rows, q_heads, head_dim]
};

// A part of the work that one worker does, for one KV head and a range of rows.
struct AttentionShare {
  enum class Phase : uint8_t {
    kWhole,   // all splits, merges them, writes `out`
    kSplits,  // only splits [split_begin, split_end): writes their `partials`
    kMerge,   // merges all splits' `partials`, writes `out`
  };
  int kv_head = 0;
  int64_t row_begin = 0, row_end = 0;
  Phase phase = Phase::kWhole;
  int64_t split_begin = 0, split_end = 0;  // of kSplits
  // [splits, query rows of the share, head_dim + 2]: shared by the shares of one head and row
  // range, for all AttentionSplits() of them; absent for kWhole.
  float* partials = nullptr;
};

// Splits that the rows up to args' last position are cut into.
int64_t AttentionSplits(const AttentionArgs& args);

// Floats of `partials` for the share's rows.
size_t AttentionPartialFloats(const AttentionArgs& args, const AttentionShare& share);

// Bytes of scratch that `attend` needs for one share, 64-byte aligned.
size_t AttentionScratchBytes(const AttentionArgs& args, const AttentionShare& share);

}  // namespace lynx
