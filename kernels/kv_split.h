// The KV code "P64": one nested 8-bit code whose upper bits are the Anchor and whose lower bits are
// the Residual. docs/kv-code.md has the why; this header and kv_split_inl.h are the single
// specification.
//
// Unit: a page = 64 tokens of one layer, all KV heads, K (after RoPE) and V.
// Group: one channel of one KV head over the page's tokens (tokens [first_token, 64): the prompt's
// first four tokens, the sinks, stay BF16 and outside page 0's groups).
//   lo = the group's minimum, a BF16 number sent exactly.
//   s  = the smallest 2^(k/8), k an int8, with s >= (max - lo) / 255. max == lo: k = -128.
//   q  = clamp(rint((x - lo) / s), 0, 255) in float32, ties to even.
// With b Anchor bits and r = 8 - b: Anchor A = q >> r, rebuilt as lo + s * ((A << r) + (2^r - 1) /
// 2); Residual = q & (2^r - 1); full = lo + s * q. Inf, NaN or a step beyond k = 127 anywhere in
// the page: it is raw.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/bf16.h"

namespace lynx {

inline constexpr int kPageTokens = 64;
inline constexpr int kSinkTokens = 4;

struct KvShape {
  int kv_heads = 0;
  int head_dim = 0;  // even
  friend bool operator==(const KvShape&, const KvShape&) = default;
};

// Anchor bits of K and V. 3 to 7 split; 8 puts the whole code into the Anchor block (the int8
// baseline).
struct KvSplit {
  int k_bits = 5;
  int v_bits = 4;
  friend bool operator==(const KvSplit&, const KvSplit&) = default;
};

// Sizes of the blocks of one page, in bytes. Anchor: lo and k of every group, then the Anchor
// planes. Residual: the Residual planes (0 bytes if both widths are 8).
size_t AnchorBlockBytes(KvShape shape, KvSplit split);
size_t ResidualBlockBytes(KvShape shape, KvSplit split);
size_t Bf16PageBytes(KvShape shape);
// Tokens packed one after another, each [K, V][kv_heads][head_dim] in BF16: how sinks and a
// prompt's partial last page travel.
size_t PackedTokenBytes(KvShape shape);

// A BF16 page in memory: K [kv_heads][head_dim / 2][64 tokens][2], then V [kv_heads][32 token
// pairs][head_dim][2]. Both put the two members of a dot product's pair side by side.
struct WriteKvArgs {
  KvShape shape;
  const float* k = nullptr;   // [kv_heads, head_dim], after RoPE
  const float* v = nullptr;   // [kv_heads, head_dim]
  std::byte* page = nullptr;  // BF16 page
  int token = 0;              // 0..63
};

enum class SplitResult { kCode, kRaw };

struct SplitPageArgs {
  KvShape shape;
  KvSplit split;
  const std::byte* page = nullptr;  // BF16 page, all 64 tokens valid
  int first_token = 0;              // 0, or kSinkTokens for page 0
  std::byte* anchor = nullptr;      // AnchorBlockBytes
  std::byte* residual = nullptr;    // ResidualBlockBytes; may be null if that is 0
};

// The Tail: which of the n consecutive BF16 numbers that quantize to q was meant, in ceil(log2 n)
// bits.
struct TailEncodeArgs {
  KvShape shape;
  KvSplit split;
  const std::byte* page = nullptr;  // the BF16 page that the blocks were made from
  int first_token = 0;
  const std::byte* anchor = nullptr;
  const std::byte* residual = nullptr;
  std::byte* tail = nullptr;  // room for Bf16PageBytes; returns the bytes written
};

struct TailDecodeArgs {
  KvShape shape;
  KvSplit split;
  int first_token = 0;
  const std::byte* anchor = nullptr;
  const std::byte* residual = nullptr;
  std::span<const std::byte>
      tail;                   // from a peer: returns false if its length does not fit the code
  std::byte* page = nullptr;  // BF16 page; tokens before first_token are left alone
};

// Tokens [begin, end) of a BF16 page to and from packed form.
void PackTokens(KvShape shape, const std::byte* page, int begin, int end, std::byte* packed);
void UnpackTokens(KvShape shape, const std::byte* packed, int begin, int end, std::byte* page);

}  // namespace lynx
