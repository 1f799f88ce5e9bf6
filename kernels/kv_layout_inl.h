// Where everything of a page lies in memory. Host and device.
//
// BF16 page: for each KV head's K [head_dim / 2][64 tokens][2], then for each KV head's V
// [32 token pairs][head_dim][2]: the two members of a dot product's pair lie side by side, and the
// lanes of a vector are tokens for K (scores) and channels for V (output).
//
// Code planes keep those lanes. A plane of `b` bits is cut into sub-planes of 8, 4, 2 and 1 bits,
// the binary digits of b, most significant bits first. In a sub-plane of w bits one byte holds the
// fields of 8 / w consecutive channels (K) or tokens (V), the first in the lowest bits:
//   K: [channel block][64 tokens], channels padded to a multiple of 8 with zero fields;
//   V: [token block][head_dim].
// A vector of bytes is thus unpacked with a shift and a mask, for all lanes alike.
//
// Anchor block:   for each KV head { K part, V part }, each part = lo [head_dim] BF16,
//                 k [head_dim] int8, Anchor plane.
// Residual block: for each KV head { K plane, V plane }.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kv_split.h"
#include "kernels/math_inl.h"
#include "runtime/bf16.h"

namespace lynx {

inline constexpr int kCodeBits = 8;
inline constexpr int kPagePairs = kPageTokens / 2;

enum class KvSide : uint8_t { kKey, kValue };

// Elements from the start of a BF16 page.
LYNX_EXACT size_t KeyIndex(KvShape shape, int head, int token, int channel) {
  const size_t pair = static_cast<size_t>(head) * (shape.head_dim / 2) + channel / 2;
  return (pair * kPageTokens + token) * 2 + channel % 2;
}
LYNX_EXACT size_t ValueIndex(KvShape shape, int head, int token, int channel) {
  const size_t heads = static_cast<size_t>(shape.kv_heads) * kPageTokens * shape.head_dim;
  const size_t pair = static_cast<size_t>(head) * kPagePairs + token / 2;
  return heads + (pair * shape.head_dim + channel) * 2 + token % 2;
}

LYNX_EXACT size_t ElementIndex(KvShape shape, KvSide side, int head, int token, int channel) {
  return side == KvSide::kKey ? KeyIndex(shape, head, token, channel)
                              : ValueIndex(shape, head, token, channel);
}

LYNX_EXACT int PaddedChannels(int head_dim) { return (head_dim + 7) / 8 * 8; }

LYNX_EXACT int SideBits(KvSplit split, KvSide side) {
  return side == KvSide::kKey ? split.k_bits : split.v_bits;
}

// Bytes of one head's plane of `bits` bits.
LYNX_EXACT size_t PlaneBytes(int head_dim, KvSide side, int bits) {
  const int channels = side == KvSide::kKey ? PaddedChannels(head_dim) : head_dim;
  return static_cast<size_t>(channels) * (kPageTokens / 8) * bits;
}

// lo and k of one head's groups on one side.
LYNX_EXACT size_t GroupBytes(int head_dim) { return static_cast<size_t>(head_dim) * 3; }

LYNX_EXACT size_t AnchorPartBytes(int head_dim, KvSplit split, KvSide side) {
  return GroupBytes(head_dim) + PlaneBytes(head_dim, side, SideBits(split, side));
}

// One head's groups and planes on one side of a page, found in its two blocks.
struct CodePart {
  const std::byte* lo;        // [head_dim] BF16, any alignment
  const std::byte* k;         // [head_dim] int8
  const std::byte* anchor;    // plane of `anchor_bits`
  const std::byte* residual;  // plane of 8 - anchor_bits; null if not given
  int anchor_bits;
};

LYNX_EXACT CodePart FindCodePart(KvShape shape, KvSplit split, int head, KvSide side,
                                 const std::byte* anchor, const std::byte* residual) {
  const int d = shape.head_dim;
  const int bits = SideBits(split, side);
  const size_t key_part = AnchorPartBytes(d, split, KvSide::kKey);
  const size_t value_part = AnchorPartBytes(d, split, KvSide::kValue);
  const size_t key_residual = PlaneBytes(d, KvSide::kKey, kCodeBits - split.k_bits);
  const size_t value_residual = PlaneBytes(d, KvSide::kValue, kCodeBits - split.v_bits);
  const std::byte* part = anchor + head * (key_part + value_part);
  const std::byte* rest = residual;
  if (rest != nullptr) rest += head * (key_residual + value_residual);
  if (side == KvSide::kValue) {
    part += key_part;
    if (rest != nullptr) rest += key_residual;
  }
  return {part, part + 2 * static_cast<size_t>(d), part + GroupBytes(d), rest, bits};
}

}  // namespace lynx
