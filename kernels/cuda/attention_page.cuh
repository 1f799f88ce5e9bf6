// Copies of one KV head's part of a page into shared memory, for attention's blocks of kThreads.
#pragma once

#include "kernels/cuda/attention.h"
#include "kernels/cuda/fragments.cuh"

namespace lynx::cuda {

// Bytes of one KV head in a BF16 page in shared memory: K rows, then V rows.
template <int kHeadDim>
inline constexpr int kBf16HeadBytes = 2 * kPageTokens* kHeadDim * 2;

// Bytes of one KV head in a block, by side and in all. Multiples of 16.
struct CodeSizes {
  int key_anchor, value_anchor;  // lo, k and Anchor plane
  int key_residual, value_residual;
  LYNX_DEVICE CodeSizes(int head_dim, KvSplit split)
      : key_anchor(head_dim * 3 + CodePlaneBytes(head_dim, split.k_bits)),
        value_anchor(head_dim * 3 + CodePlaneBytes(head_dim, split.v_bits)),
        key_residual(CodePlaneBytes(head_dim, kCodeBits - split.k_bits)),
        value_residual(CodePlaneBytes(head_dim, kCodeBits - split.v_bits)) {}
  LYNX_DEVICE int anchor() const { return key_anchor + value_anchor; }
  LYNX_DEVICE int residual() const { return key_residual + value_residual; }
};

// Queues the copy of `bytes` consecutive bytes, a multiple of 16.
LYNX_DEVICE void CopyBytes(std::byte* to, const std::byte* from, int bytes) {
  for (int i = static_cast<int>(threadIdx.x) * 16; i < bytes; i += kThreads * 16) {
    CpAsync16(to + i, from + i);
  }
}

// Queues the copy of one side's 64 rows; rows outside tokens [begin, end) are filled with zeros and
// not read. source(token) is the address of a token's row.
template <int kHeadDim, class Source>
LYNX_DEVICE void CopyRows(uint4* rows, int begin, int end, const std::byte* anything,
                          const Source& source) {
  constexpr int kChunks = kHeadDim / 8, kRowsAtOnce = kThreads / kChunks;
  const int chunk = static_cast<int>(threadIdx.x) % kChunks;
#pragma unroll 2
  for (int token = static_cast<int>(threadIdx.x) / kChunks; token < kPageTokens;
       token += kRowsAtOnce) {
    const bool valid = token >= begin && token < end;
    const std::byte* from = valid ? source(token) + chunk * 16 : anything;
    CpAsync16(rows + RowChunk<kHeadDim>(token, chunk), from, valid ? 16 : 0);
  }
}

}  // namespace lynx::cuda
