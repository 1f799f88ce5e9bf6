#include "kernels/cuda/gemm_inl.cuh"
#include "kernels/cuda/gemm_kernels.h"

namespace lynx::cuda {
namespace {

// A block takes kSide x kSide results, a warp 32 columns and half of the rows (32 or 64). It goes
// through all parts of k one after another, each summed from 0 and then added to the total.
template <int kSide>
struct Tiles {
  static constexpr int kWarpColumns = 32;
  static constexpr int kWarpRows = kSide / 2;
  static constexpr int kWarps = 2 * (kSide / kWarpColumns);
  static constexpr int kThreads = 32 * kWarps;
  static constexpr int kBlocksPerSm = kSide == 64 ? 2 : 1;
  // Small tiles are bound by reading the weights, often with fewer blocks than SMs: 40 KiB of them
  // are in flight in each. Large ones only have to hide the latency of the L2 cache.
  static constexpr int kStages = kSide == 64 ? 6 : 4;
  static constexpr int kStage = 2 * kSide * kChunk;  // elements: a tile of a, a tile of w
  static constexpr size_t kSmemBytes = size_t{kStages} * kStage * sizeof(bf16);
  using Tile = WarpTile<kWarpRows / 16, kWarpColumns / 8>;
};

template <int kRowTiles, int kColumnTiles>
LYNX_DEVICE void Add(WarpTile<kRowTiles, kColumnTiles>& total,
                     const WarpTile<kRowTiles, kColumnTiles>& part) {
#pragma unroll
  for (int r = 0; r < kRowTiles; ++r) {
#pragma unroll
    for (int c = 0; c < kColumnTiles; ++c) {
#pragma unroll
      for (int i = 0; i < 4; ++i) total.sum[r][c][i] += part.sum[r][c][i];
    }
  }
}

template <int kRowTiles, int kColumnTiles>
LYNX_DEVICE void Store(const GemmParams& p, const WarpTile<kRowTiles, kColumnTiles>& tile,
                       int64_t row, int64_t column) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  row += lane / 4;
  column += lane % 4 * 2;
#pragma unroll
  for (int r = 0; r < kRowTiles; ++r) {
#pragma unroll
    for (int c = 0; c < kColumnTiles; ++c) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        StoreSum(p, row + 16 * r + i / 2 * 8, column + 8 * c + i % 2, tile.sum[r][c][i]);
      }
    }
  }
}

template <int kSide>
__global__ void __launch_bounds__(Tiles<kSide>::kThreads, Tiles<kSide>::kBlocksPerSm)
    GemmTilesKernel(const GemmParams p) {
  using Shape = Tiles<kSide>;
  SmemAlloc smem;
  bf16* stages = smem.Take<bf16>(Shape::kStages * Shape::kStage);
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32;
  const int warp_row = warp % 2 * Shape::kWarpRows, warp_column = warp / 2 * Shape::kWarpColumns;
  const int64_t first_row = int64_t{blockIdx.x} * kSide;
  const int64_t first_column = int64_t{blockIdx.y} * kSide;
  const int chunks = ChunksOf(p.k);
  const TileCopy<kSide, Shape::kThreads> copy_a(p.a, p.lda, p.m, p.k, first_row, thread);
  const TileCopy<kSide, Shape::kThreads> copy_w(p.w, p.k, p.n, p.k, first_column, thread);
  const auto start = [&](int chunk) {
    if (chunk < chunks) {
      bf16* stage = stages + chunk % Shape::kStages * Shape::kStage;
      copy_a.Start(stage, chunk);
      copy_w.Start(stage + kSide * kChunk, chunk);
    }
    CpAsyncCommit();  // an empty group too: the waits below count them
  };
  for (int i = 0; i < Shape::kStages - 1; ++i) start(i);

  typename Shape::Tile total;
  for (int chunk = 0; chunk < chunks;) {
    typename Shape::Tile part;
    for (const int end = PartEnd(chunk, chunks); chunk < end; ++chunk) {
      CpAsyncWait<Shape::kStages - 2>();
      __syncthreads();  // the others' copies; and all have read the stage that is filled next
      start(chunk + Shape::kStages - 1);
      bf16* stage = stages + chunk % Shape::kStages * Shape::kStage;
      MultiplyChunk(part, stage, warp_row, stage + kSide * kChunk, warp_column);
    }
    Add(total, part);
  }
  CpAsyncWait<0>();
  Store(p, total, first_row + warp_row, first_column + warp_column);
}

template <int kSide>
cudaError_t LaunchTiles(const GemmParams& params, cudaStream_t stream) {
  // Neighbouring blocks share columns: the weights come from memory once, then from the L2 cache.
  const dim3 grid(static_cast<unsigned>((params.m + kSide - 1) / kSide),
                  static_cast<unsigned>((params.n + kSide - 1) / kSide));
  return Launch("GemmTiles", GemmTilesKernel<kSide>, grid, dim3(Tiles<kSide>::kThreads),
                Tiles<kSide>::kSmemBytes, stream, params);
}

}  // namespace

cudaError_t GemmTiles64(const GemmParams& params, cudaStream_t stream) {
  return LaunchTiles<64>(params, stream);
}

cudaError_t GemmTiles128(const GemmParams& params, cudaStream_t stream) {
  return LaunchTiles<128>(params, stream);
}

}  // namespace lynx::cuda
