// Where everything of a page lies in the CUDA backend's memory. Host and device.
//
// The sizes of a BF16 page, an Anchor block and a Residual block, and the order of their parts, are
// the CPU's (kernels/kv_layout_inl.h); the order of elements inside is made for mma.m16n8k16.
// head_dim is 64, 128 or 256, and blocks begin on 16 bytes.
//
// BF16 page: K [kv_heads][64 tokens][head_dim], then V [kv_heads][64 tokens][head_dim]. A token's
// row is written at once, a head's 64 rows are read at once; ldmatrix turns rows into fragments.
//
// Code planes: a plane of b bits is cut into sub-planes of 8, 4, 2 and 1 bits, the binary digits of
// b, most significant bits first. Inside a sub-plane, codes lie in the order in which the lanes of
// attention's four warps need them as B operands, so that a lane's own loads (and a few shifts)
// give its fragments and nothing is transposed in shared memory:
//   sub-plane of w bits: [4 warps][head_dim / 64 groups][max(1, w / 4)][32 lanes][min(w, 4) words]
// A lane's group is 16 pairs of codes = w words of 32 bits. A word holds 16 / w pairs; pair j of a
// word has its first member at bit w * j and its second at bit 16 + w * j, so that one shift and
// one mask put both where a BF16 pair has its numbers. In the fragment of lane 4 g + t a pair is
// two neighbours k = 2 t, 2 t + 1 (register 0) or 2 t + 8, 2 t + 9 (register 1) of column n = g:
//   K: k = channel, n = token. Warp w has tokens 16 w ..: pair = (channel / 16, token / 8 % 2,
//      register). A group is 64 channels.
//   V: k = token, n = channel. Warp w has channels w * head_dim / 4 ..: pair = (channel / 8 within
//      the warp, token / 16, register). A group is 16 channels.
//
// Anchor block:   for each KV head { K part, V part }, each part = lo [head_dim] BF16,
//                 k [head_dim] int8, Anchor plane.
// Residual block: for each KV head { K plane, V plane }.
// Every part and sub-plane begins on 16 bytes within its block.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kv_layout_inl.h"
#include "kernels/kv_split.h"
#include "kernels/math_inl.h"
#include "runtime/bf16.h"

namespace lynx::cuda {

inline constexpr int kWarpLanes = 32;
inline constexpr int kPlaneWarps = 4;   // that share a page of one KV head
inline constexpr int kGroupPairs = 16;  // pairs of codes in a lane's group
inline constexpr int kWordBits = 32;

LYNX_EXACT constexpr bool IsHeadDim(int head_dim) {
  return head_dim == 64 || head_dim == 128 || head_dim == 256;
}

// Whether kernels take pages of this shape and code.
LYNX_EXACT constexpr bool IsCodeShape(KvShape shape, KvSplit split) {
  return shape.kv_heads > 0 && IsHeadDim(shape.head_dim) && split.k_bits >= 3 &&
         split.k_bits <= kCodeBits && split.v_bits >= 3 && split.v_bits <= kCodeBits;
}

// Elements from the start of a BF16 page; the channels of a token lie one after another.
LYNX_EXACT size_t Bf16Index(KvShape shape, KvSide side, int head, int token, int channel) {
  const size_t row =
      (static_cast<size_t>(side == KvSide::kKey ? 0 : shape.kv_heads) + head) * kPageTokens + token;
  return row * shape.head_dim + channel;
}

// Elements from the start of a packed token [K, V][kv_heads][head_dim].
LYNX_EXACT size_t PackedIndex(KvShape shape, KvSide side, int head, int channel) {
  const int row = (side == KvSide::kKey ? 0 : shape.kv_heads) + head;
  return static_cast<size_t>(row) * shape.head_dim + channel;
}

// Bytes of one head's plane of `bits` bits: a sub-plane's too.
LYNX_EXACT constexpr int CodePlaneBytes(int head_dim, int bits) {
  return head_dim * (kPageTokens / 8) * bits;
}

// A code's place among the lanes of attention's warps.
struct CodePlace {
  int warp, lane;
  int group;   // of the lane
  int pair;    // of the group, 0..15
  int member;  // of the pair, 0 or 1
};

LYNX_EXACT CodePlace PlaceOf(int head_dim, KvSide side, int token, int channel) {
  const bool key = side == KvSide::kKey;
  const int k = (key ? channel : token) % 16;
  const int lane = (key ? token : channel) % 8 * 4 + k % 8 / 2;
  if (key) {
    const int pair = (channel / 16 * 2 + token / 8 % 2) * 2 + k / 8;
    return {token / 16, lane, pair / kGroupPairs, pair % kGroupPairs, k % 2};
  }
  const int warp_channels = head_dim / kPlaneWarps;
  const int pair = (channel % warp_channels / 8 * 4 + token / 16) * 2 + k / 8;
  return {channel / warp_channels, lane, pair / kGroupPairs, pair % kGroupPairs, k % 2};
}

// The inverse: which token and channel a place holds.
struct CodeElement {
  int token, channel;
};
LYNX_EXACT CodeElement ElementOf(int head_dim, KvSide side, const CodePlace& place) {
  const int pair = place.group * kGroupPairs + place.pair;
  const int k = pair % 2 * 8 + place.lane % 4 * 2 + place.member;
  const int n = place.lane / 4;
  if (side == KvSide::kKey) {
    return {place.warp * 16 + pair / 2 % 2 * 8 + n, pair / 4 * 16 + k};
  }
  return {pair / 2 % 4 * 16 + k, place.warp * (head_dim / kPlaneWarps) + pair / 8 * 8 + n};
}

// Words from the start of a sub-plane of `width` bits to word `word` (0 .. width - 1) of a lane's
// group.
LYNX_EXACT constexpr int GroupWordIndex(int head_dim, int width, int warp, int group, int lane,
                                        int word) {
  const int words = width < 4 ? width : 4;  // loaded at once
  const int loads = width / words;
  const int load = (warp * (head_dim / 64) + group) * loads + word / words;
  return (load * kWarpLanes + lane) * words + word % words;
}

// The inverse: the place of a word's first code (pair's first member).
LYNX_EXACT CodePlace PlaceOfWord(int head_dim, int width, int index) {
  const int words = width < 4 ? width : 4, loads = width / words;
  const int load = index / words / kWarpLanes, groups = head_dim / 64;
  const int word = load % loads * words + index % words;
  return {load / loads / groups, index / words % kWarpLanes, load / loads % groups,
          word * (kGroupPairs / width), 0};
}

// Bits from the start of a sub-plane of `width` bits to the lowest bit of a code's field.
LYNX_EXACT int CodeBit(int head_dim, KvSide side, int width, int token, int channel) {
  const CodePlace place = PlaceOf(head_dim, side, token, channel);
  const int per_word = kGroupPairs / width;
  const int word =
      GroupWordIndex(head_dim, width, place.warp, place.group, place.lane, place.pair / per_word);
  return word * kWordBits + place.member * 16 + place.pair % per_word * width;
}

}  // namespace lynx::cuda
