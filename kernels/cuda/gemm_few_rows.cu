#include "kernels/cuda/gemm_inl.cuh"
#include "kernels/cuda/gemm_kernels.h"

namespace lynx::cuda {
namespace {

// A block takes kColumns columns; its warp w sums part w of k, in a pipeline of its own, and the
// parts meet in shared memory. 96 KiB of copies in flight a block, two blocks on an SM of an H100:
// several times the 20 KiB an SM that its memory's latency times bandwidth asks for.
constexpr int kWarps = kGemmParts;
constexpr int kThreads = 32 * kWarps;
constexpr int kRows = static_cast<int>(kFewRows);

template <int kColumns>
struct FewRows {
  static constexpr int kStages = kColumns == 16 ? 3 : 2;
  static constexpr int kStage = (kRows + kColumns) * kChunk;  // elements: a tile of a, a tile of w
  // The sums as fragments hold them: [column tiles][upper, lower rows][lanes], two columns each.
  static constexpr int kPairs = kColumns / 8 * 2 * 32;
  static constexpr size_t kStageBytes = sizeof(bf16) * kStage;
  static constexpr size_t kSmemBytes =
      SmemEnd(kWarps * kStages * kStageBytes, sizeof(float2) * kWarps * kPairs);
  using Tile = WarpTile<1, kColumns / 8>;
};

// The sums of this warp's part for all rows and the block's columns.
template <int kColumns>
LYNX_DEVICE typename FewRows<kColumns>::Tile SumPart(const GemmParams& p, bf16* stages,
                                                     int64_t first_column) {
  using Shape = FewRows<kColumns>;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int chunks = ChunksOf(p.k);
  const int begin = PartBegin(warp, chunks), end = PartBegin(warp + 1, chunks);
  const TileCopy<kRows, 32> copy_a(p.a, p.lda, p.m, p.k, 0, lane);
  const TileCopy<kColumns, 32> copy_w(p.w, p.k, p.n, p.k, first_column, lane);
  const auto start = [&](int chunk) {
    if (chunk < end) {
      bf16* stage = stages + (chunk - begin) % Shape::kStages * Shape::kStage;
      copy_w.Start(stage + kRows * kChunk, chunk);
      copy_a.Start(stage, chunk);
    }
    CpAsyncCommit();  // an empty group too: the waits below count them
  };
  for (int i = 0; i < Shape::kStages; ++i) start(begin + i);
  typename Shape::Tile tile;
  for (int chunk = begin; chunk < end; ++chunk) {
    CpAsyncWait<Shape::kStages - 1>();
    __syncwarp();  // the other lanes' copies
    bf16* stage = stages + (chunk - begin) % Shape::kStages * Shape::kStage;
    MultiplyChunk(tile, stage, 0, stage + kRows * kChunk, 0);
    __syncwarp();  // all lanes have read the stage
    start(chunk + Shape::kStages);
  }
  CpAsyncWait<0>();
  return tile;
}

template <int kColumns>
__global__ void __launch_bounds__(kThreads, 2) GemmFewRowsKernel(const GemmParams p) {
  using Shape = FewRows<kColumns>;
  SmemAlloc smem;
  bf16* stages = smem.Take<bf16>(kWarps * Shape::kStages * Shape::kStage);
  float2* parts = smem.Take<float2>(kWarps * Shape::kPairs);
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  const int64_t first_column = int64_t{blockIdx.x} * kColumns;

  const auto tile =
      SumPart<kColumns>(p, stages + warp * Shape::kStages * Shape::kStage, first_column);
  float2* mine = parts + warp * Shape::kPairs + lane;
#pragma unroll
  for (int c = 0; c < kColumns / 8; ++c) {
    const float(&sum)[4] = tile.sum[0][c];
    StoreShared(mine + 64 * c, make_float2(sum[0], sum[1]));
    StoreShared(mine + 64 * c + 32, make_float2(sum[2], sum[3]));
  }
  __syncthreads();

  if (thread >= Shape::kPairs) return;
  float2 total = make_float2(0, 0);
#pragma unroll
  for (int part = 0; part < kGemmParts; ++part) {
    const float2 sum = LoadShared(parts + part * Shape::kPairs + thread);
    total.x += sum.x;
    total.y += sum.y;
  }
  const int64_t row = warp % 2 * 8 + lane / 4;
  const int64_t column = first_column + warp / 2 * 8 + lane % 4 * 2;
  StoreSum(p, row, column, total.x);
  StoreSum(p, row, column + 1, total.y);
}

template <int kColumns>
cudaError_t LaunchFewRows(const GemmParams& params, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>((params.n + kColumns - 1) / kColumns);
  return Launch("GemmFewRows", GemmFewRowsKernel<kColumns>, dim3(blocks), dim3(kThreads),
                FewRows<kColumns>::kSmemBytes, stream, params);
}

}  // namespace

cudaError_t GemmFewRows(const GemmParams& params, cudaStream_t stream) {
  // 32 columns read `a` half as often; 16 give twice the blocks where there would be too few.
  const bool wide = params.n >= 8192 || (params.m > 8 && params.n >= 4096);
  return wide ? LaunchFewRows<32>(params, stream) : LaunchFewRows<16>(params, stream);
}

}  // namespace lynx::cuda
