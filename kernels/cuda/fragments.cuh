// Fragments of mma.m16n8k16 as attention uses them, and BF16 rows of a page in shared memory.
//
// Lane 4 g + t of a warp holds, of A (16 rows x 16 k), word i: row g + 8 (i % 2), k = 2 t + 8
// (i / 2) and the next; of the sums (16 rows x 8 n), float i: row g + 8 (i / 2), n = 2 t + i % 2.
#pragma once

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/kv_layout_inl.h"
#include "kernels/cuda/ptx.cuh"
#include "kernels/math_inl.h"

namespace lynx::cuda {

inline constexpr int kTileRows = 16;
inline constexpr int kWarps = 4;
inline constexpr int kThreads = kWarps * kWarpLanes;

// Two BF16 numbers in a word, the first in the lower half.
LYNX_DEVICE uint32_t PairOf(bf16 first, bf16 second) {
  return static_cast<uint32_t>(first.bits) | static_cast<uint32_t>(second.bits) << 16;
}

// x rounded to BF16, as the hardware does it for numbers that are no NaN.
LYNX_DEVICE uint32_t RoundPair(float first, float second) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(first, second);
  return static_cast<uint32_t>(__bfloat16_as_ushort(pair.x)) |
         static_cast<uint32_t>(__bfloat16_as_ushort(pair.y)) << 16;
}
LYNX_DEVICE float FirstOf(uint32_t pair) { return __uint_as_float(pair << 16); }
LYNX_DEVICE float SecondOf(uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); }

// Two float32 numbers as sums of two BF16 numbers each.
struct SplitPair {
  uint32_t high, low;
};
LYNX_DEVICE SplitPair SplitOf(float first, float second) {
  const uint32_t high = RoundPair(first, second);
  return {high, RoundPair(first - FirstOf(high), second - SecondOf(high))};
}

// A's fragments in shared memory: [k steps of 16][32 lanes][4 words], one 16-byte load a lane.
LYNX_DEVICE int FragmentWord(int step, int row, int half, int pair) {
  return (step * kWarpLanes + row % 8 * 4 + pair) * 4 + row / 8 + 2 * half;
}
LYNX_DEVICE void LoadFragment(uint32_t (&a)[4], const uint32_t* fragments, int step, int lane) {
  const uint4 words = *reinterpret_cast<const uint4*>(fragments + (step * kWarpLanes + lane) * 4);
  a[0] = words.x;
  a[1] = words.y;
  a[2] = words.z;
  a[3] = words.w;
}

// Rows of head_dim BF16 numbers in shared memory: 16-byte chunk c of row r lies at chunk c ^ (r %
// 8), so that the eight rows that ldmatrix reads at once lie in different banks.
template <int kHeadDim>
LYNX_DEVICE int RowChunk(int row, int chunk) {
  return row * (kHeadDim / 8) + (chunk ^ (row & 7));
}

// Where a lane's address for LoadKeys and LoadValues lies in such rows, in chunks. `row` is a
// multiple of 8. A chunk is found by XOR with its number, because the swizzle is one too.
template <int kHeadDim>
LYNX_DEVICE int KeyChunk(int row, int lane) {
  return RowChunk<kHeadDim>(row + lane / 16 * 8 + lane % 8, lane / 8 % 2);
}
template <int kHeadDim>
LYNX_DEVICE int ValueChunk(int row, int lane) {
  return RowChunk<kHeadDim>(row + lane % 16, lane / 16);
}

// B operands of K for 16 tokens and channels 16 step ..: b[0..1] of the first eight tokens, b[2..3]
// of the others. `key_chunk` is KeyChunk of the first token's row.
LYNX_DEVICE void LoadKeys(uint32_t (&b)[4], const uint4* rows, int key_chunk, int step) {
  Ldmatrix4(b, rows + (key_chunk ^ (2 * step)));
}
// B operands of V for 16 tokens and 16 channels from `channel` on: b[0..1] of the first eight
// channels, b[2..3] of the others. `value_chunk` is ValueChunk of the first token's row.
LYNX_DEVICE void LoadValues(uint32_t (&b)[4], const uint4* rows, int value_chunk, int channel) {
  Ldmatrix4Trans(b, rows + (value_chunk ^ (channel / 8)));
}

// Reductions over the four lanes that share a row of sums.
LYNX_DEVICE float QuadMax(float x) {
  x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
  return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}
LYNX_DEVICE float QuadSum(float x) {
  x += __shfl_xor_sync(~0u, x, 1);
  return x + __shfl_xor_sync(~0u, x, 2);
}

// Positions [begin, end) that a query row sees; empty for rows that are not there.
struct Seen {
  int64_t begin = 0, end = 0;
};
LYNX_DEVICE Seen SeenFrom(int64_t position, int64_t window) {
  const int64_t begin = window > 0 ? position - window + 1 : 0;
  return {begin < 0 ? 0 : begin, position + 1};
}

}  // namespace lynx::cuda
