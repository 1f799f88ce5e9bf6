// What the kernels of Gemm share: the order of summation, tiles in shared memory, and the step of
// 64 along k on tensor cores.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/ptx.cuh"
#include "runtime/bf16.h"

namespace lynx::cuda {

inline constexpr int kGemmParts = 8;
inline constexpr int kChunk = 64;                // k of a step: 128 bytes of a row
inline constexpr int kPiece = 8;                 // elements of one 16-byte copy
inline constexpr int kPieces = kChunk / kPiece;  // of a tile's row

LYNX_DEVICE int ChunksOf(int64_t k) { return static_cast<int>((k + kChunk - 1) / kChunk); }
// First chunk of a part; parts of fewer chunks than parts are empty.
LYNX_DEVICE int PartBegin(int part, int chunks) {
  return (part * chunks + kGemmParts - 1) / kGemmParts;
}
// End of the part that holds `chunk`.
LYNX_DEVICE int PartEnd(int chunk, int chunks) {
  return PartBegin(chunk * kGemmParts / chunks + 1, chunks);
}

// A tile is [rows][64] elements; the 16-byte pieces of a row are permuted, so that the 8 rows of an
// ldmatrix lie in 8 different groups of banks.
LYNX_DEVICE bf16* PieceOf(bf16* tile, int row, int piece) {
  return tile + row * kChunk + (piece ^ (row % kPieces)) * kPiece;
}

// One of kThreads threads that copy tiles of kRows rows, chunk by chunk, out of a matrix with rows
// of `stride` elements. What lies outside the matrix becomes zero.
template <int kRows, int kThreads>
class TileCopy {
  static constexpr int kRowStep = kThreads / kPieces;
  static_assert(kRows % kRowStep == 0);

 public:
  LYNX_DEVICE TileCopy(const bf16* matrix, int64_t stride, int64_t rows, int64_t k,
                       int64_t first_row, int thread)
      : matrix_(matrix),
        row_(thread / kPieces),
        piece_(thread % kPieces),
        rows_left_(rows - first_row - row_),
        k_left_(k - piece_ * kPiece),
        offset_((first_row + row_) * stride + piece_ * kPiece),
        step_(kRowStep * stride) {}

  LYNX_DEVICE void Start(bf16* tile, int chunk) const {
    const bool inside_k = int64_t{chunk} * kChunk < k_left_;
    const int64_t offset = offset_ + int64_t{chunk} * kChunk;
#pragma unroll
    for (int i = 0; i < kRows / kRowStep; ++i) {
      const bool inside = inside_k && i * kRowStep < rows_left_;
      const bf16* from = inside ? matrix_ + offset + i * step_ : matrix_;
      CpAsync16(PieceOf(tile, row_ + i * kRowStep, piece_), from, inside ? 16 : 0);
    }
  }

 private:
  const bf16* matrix_;
  int row_, piece_;
  int64_t rows_left_, k_left_, offset_, step_;
};

// A warp's part of a tile of the result: kRowTiles x kColumnTiles fragments of 16 x 8. In the lane
// 4 g + t a fragment holds rows g and g + 8, columns 2 t and 2 t + 1.
template <int kRowTiles, int kColumnTiles>
struct WarpTile {
  float sum[kRowTiles][kColumnTiles][4] = {};
};

// sum += rows [a_row, ...) of tile `a` times rows [w_row, ...) of tile `w`, transposed, in
// ascending k.
template <int kRowTiles, int kColumnTiles>
LYNX_DEVICE void MultiplyChunk(WarpTile<kRowTiles, kColumnTiles>& to, bf16* a, int a_row, bf16* w,
                               int w_row) {
  static_assert(kColumnTiles % 2 == 0);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  a_row += lane % 16;
  w_row += lane % 8 + lane / 16 * 8;
#pragma unroll
  for (int piece = 0; piece < kPieces; piece += 2) {
    uint32_t a_part[kRowTiles][4];
#pragma unroll
    for (int r = 0; r < kRowTiles; ++r) {
      Ldmatrix4(a_part[r], PieceOf(a, a_row + 16 * r, piece + lane / 16));
    }
#pragma unroll
    for (int c = 0; c < kColumnTiles; c += 2) {
      uint32_t w_part[4];
      Ldmatrix4(w_part, PieceOf(w, w_row + 8 * c, piece + lane / 8 % 2));
#pragma unroll
      for (int r = 0; r < kRowTiles; ++r) {
        MmaBf16(to.sum[r][c], a_part[r], w_part[0], w_part[1]);
        MmaBf16(to.sum[r][c + 1], a_part[r], w_part[2], w_part[3]);
      }
    }
  }
}

// The end of every sum: bias, then what was there.
LYNX_DEVICE void StoreSum(const GemmParams& p, int64_t row, int64_t column, float sum) {
  if (row >= p.m || column >= p.n) return;
  if (p.bias != nullptr) sum += p.bias[column];
  float* c = p.c + row * p.ldc + column;
  *c = p.accumulate ? sum + *c : sum;
}

}  // namespace lynx::cuda
