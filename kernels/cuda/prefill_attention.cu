#include "kernels/attention_inl.h"
#include "kernels/cuda/attention_page.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/exp_inl.h"
#include "kernels/cuda/fragments.cuh"
#include "kernels/cuda/prefill_attention.h"
#include "kernels/cuda/ptx.cuh"

namespace lynx::cuda {
namespace {

constexpr int kStages = 2;       // pages in shared memory
constexpr int kStepTokens = 32;  // half a page: scores of a page would not fit the registers
constexpr int kTokenSteps = kStepTokens / 16;
constexpr int kTokenTiles = kStepTokens / 8;

// A warp has kTiles tiles of 16 rows, which share each load of K and V. Two, so that loads from
// shared memory keep up with the tensor cores; one for heads whose sums would not fit the
// registers.
template <int kHeadDim, int kTiles>
class PrefillBlock {
 public:
  static constexpr int kWarpRows = kTiles * kTileRows;
  static constexpr int kBlockRows = kWarps * kWarpRows;
  static constexpr size_t SharedBytes() {
    return kStages * kBf16HeadBytes<kHeadDim> + kBlockRows * kHeadDim * 2;
  }

  LYNX_DEVICE PrefillBlock(const PrefillAttentionParams& p, SmemAlloc alloc)
      : p_(p),
        sequence_(p.sequences[blockIdx.z]),
        head_(static_cast<int>(blockIdx.y)),
        group_(p.q_heads / p.shape.kv_heads),
        // The blocks with most pages start first.
        block_begin_(static_cast<int>(gridDim.x - 1 - blockIdx.x) * kBlockRows),
        warp_(static_cast<int>(threadIdx.x) / kWarpLanes),
        lane_(static_cast<int>(threadIdx.x) % kWarpLanes) {
    ring_ = alloc.Take<uint4>(kStages * kBf16HeadBytes<kHeadDim> / sizeof(uint4));
    query_ = alloc.Take<uint32_t>(kBlockRows * kHeadDim / 2) + warp_ * kTiles * kTileWords;
  }

  LYNX_DEVICE void Run() {
    if (block_begin_ >= PackedRows()) return;
    const Span seen = SeenByAny(block_begin_, kBlockRows);
    FindRows();
    const int first = seen.begin / kPageTokens;
    const int end = (seen.end + kPageTokens - 1) / kPageTokens;
    Copy(first, seen);
    LoadQuery();
    for (int page = first; page < end; ++page) {
      CpAsyncWait<0>();
      __syncthreads();  // the page is there, and nobody reads the one before
      if (page + 1 < end) Copy(page + 1, seen);
      for (int i = 0; i < kPageTokens; i += kStepTokens) {
        AddTokens(page * kPageTokens + i, StageRow(page) + i);
      }
    }
    CpAsyncWait<0>();
    WriteRows();
  }

 private:
  static constexpr int kChannelSteps = kHeadDim / 16;
  static constexpr int kRowChunks = kHeadDim / 8;
  static constexpr int kTileWords = kTileRows * kHeadDim / 2;
  using Sums = float[4];

  // Positions [begin, end): 32 bits, because registers are short.
  struct Span {
    int begin, end;
  };

  LYNX_DEVICE int PackedRows() const { return sequence_.rows * group_; }
  LYNX_DEVICE int PositionOf(int packed) const {
    return static_cast<int>(sequence_.first_position) + packed / group_;
  }
  // What some of the rows [begin, begin + count) see. Nothing if none of them is there.
  LYNX_DEVICE Span SeenByAny(int begin, int count) const {
    const int last = min(begin + count, PackedRows()) - 1;
    if (last < begin) return {0, 0};
    return {SeenBegin(PositionOf(begin) + 1), PositionOf(last) + 1};
  }
  LYNX_DEVICE int SeenBegin(int end) const {
    return p_.window > 0 && p_.window < end ? end - static_cast<int>(p_.window) : 0;
  }

  LYNX_DEVICE void FindRows() {
    const int begin = block_begin_ + warp_ * kWarpRows;
    any_ = SeenByAny(begin, kWarpRows);
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int packed = PackedOf(tile, half);
        end_[tile][half] = packed < PackedRows() ? PositionOf(packed) + 1 : 0;
        max_[tile][half] = kNoScore;
      }
    }
  }

  // The first row of a page's stage: K, then V.
  LYNX_DEVICE static int StageRow(int page) { return page % kStages * 2 * kPageTokens; }

  LYNX_DEVICE void Copy(int page, Span seen) {
    const int begin = seen.begin - page * kPageTokens, end = seen.end - page * kPageTokens;
    const std::byte* data = sequence_.pages[p_.layer * sequence_.page_stride + page].data;
    for (int side = 0; side < 2; ++side) {
      const int64_t row = (int64_t{side} * p_.shape.kv_heads + head_) * kPageTokens;
      const std::byte* rows = data + row * kHeadDim * 2;
      CopyRows<kHeadDim>(ring_ + (StageRow(page) + side * kPageTokens) * kRowChunks, begin, end,
                         rows, [&](int token) { return rows + token * kHeadDim * 2; });
    }
    CpAsyncCommit();
  }

  // Each lane keeps its own words of the warp's A fragments.
  LYNX_DEVICE void LoadQuery() {
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      const float* rows[2] = {QueryOf(tile, 0), QueryOf(tile, 1)};
#pragma unroll 2
      for (int s = 0; s < kChannelSteps; ++s) {
        uint32_t words[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float* q = rows[i % 2];
          const int c = s * 16 + i / 2 * 8 + lane_ % 4 * 2;
          words[i] = q == nullptr ? 0 : RoundPair(q[c] * p_.scale, q[c + 1] * p_.scale);
        }
        uint32_t* to = query_ + tile * kTileWords + (s * kWarpLanes + lane_) * 4;
        *reinterpret_cast<uint4*>(to) = make_uint4(words[0], words[1], words[2], words[3]);
      }
    }
  }
  LYNX_DEVICE int PackedOf(int tile, int half) const {
    return block_begin_ + warp_ * kWarpRows + tile * kTileRows + half * 8 + lane_ / 4;
  }
  // Null if there is no such row.
  LYNX_DEVICE const float* QueryOf(int tile, int half) const {
    const int packed = PackedOf(tile, half);
    if (packed >= PackedRows()) return nullptr;
    const int64_t row = sequence_.row_begin + packed / group_;
    return p_.q + row * p_.q_stride + (int64_t{head_} * group_ + packed % group_) * kHeadDim;
  }

  // Tokens at positions origin .., whose keys lie in rows `row` .. of the ring.
  LYNX_DEVICE void AddTokens(int origin, int row) {
    if (origin >= any_.end || origin + kStepTokens <= any_.begin) return;
    Sums scores[kTiles][kTokenTiles] = {};
    Score(row, scores);
    if (!AllSee(origin)) Mask(origin, scores);
    float alpha[kTiles][2];
    uint32_t weights[kTiles][kTokenSteps][4];
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        alpha[tile][half] = Weigh(tile, half, scores[tile], weights[tile]);
      }
    }
    Rescale(alpha);
    Gather(row + kPageTokens, weights);
  }

  LYNX_DEVICE void Score(int row, Sums (&scores)[kTiles][kTokenTiles]) {
    const int chunk = KeyChunk<kHeadDim>(row, lane_);
#pragma unroll 1
    for (int s = 0; s < kChannelSteps; ++s) {
      uint32_t a[kTiles][4];
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) {
        LoadFragment(a[tile], query_ + tile * kTileWords, s, lane_);
      }
#pragma unroll
      for (int n = 0; n < kTokenTiles; n += 2) {
        uint32_t b[4];
        LoadKeys(b, ring_ + n * 8 * kRowChunks, chunk, s);
#pragma unroll
        for (int tile = 0; tile < kTiles; ++tile) {
          MmaBf16(scores[tile][n], a[tile], b[0], b[1]);
          MmaBf16(scores[tile][n + 1], a[tile], b[2], b[3]);
        }
      }
    }
  }

  // Whether all rows see all of a step's tokens.
  LYNX_DEVICE bool AllSee(int origin) const {
    bool see = true;
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int end = end_[tile][half];
        see = see && SeenBegin(end) <= origin && origin + kStepTokens <= end;
      }
    }
    return __all_sync(~0u, see);
  }

  // Takes out what a row does not see.
  LYNX_DEVICE void Mask(int origin, Sums (&scores)[kTiles][kTokenTiles]) const {
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int end = end_[tile][half] - origin, begin = SeenBegin(end_[tile][half]) - origin;
#pragma unroll
        for (int n = 0; n < kTokenTiles; ++n) {
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            const int token = n * 8 + lane_ % 4 * 2 + e;
            if (token < begin || token >= end) scores[tile][n][2 * half + e] = kNoScore;
          }
        }
      }
    }
  }

  // Scores of a tile's lower or upper rows to weights, as words of the A operand. Returns alpha.
  LYNX_DEVICE float Weigh(int tile, int half, const Sums (&scores)[kTokenTiles],
                          uint32_t (&weights)[kTokenSteps][4]) {
    float page_max = kNoScore;
#pragma unroll
    for (int n = 0; n < kTokenTiles; ++n) {
      page_max = fmaxf(page_max, fmaxf(scores[n][2 * half], scores[n][2 * half + 1]));
    }
    const float max_score = fmaxf(max_[tile][half], QuadMax(page_max));
    const float base = max_score == kNoScore ? 0.0f : max_score;
    const float alpha =
        max_[tile][half] == kNoScore ? 0.0f : ExpOfNegative(max_[tile][half] - base);
    max_[tile][half] = max_score;
    float sum = 0.0f;
#pragma unroll
    for (int n = 0; n < kTokenTiles; ++n) {
      const uint32_t pair = RoundPair(ExpOfNegative(scores[n][2 * half] - base),
                                      ExpOfNegative(scores[n][2 * half + 1] - base));
      weights[n / 2][half + n % 2 * 2] = pair;
      sum += FirstOf(pair) + SecondOf(pair);
    }
    sum_[tile][half] = Fma(sum_[tile][half], alpha, QuadSum(sum));
    return alpha;
  }

  LYNX_DEVICE void Rescale(const float (&alpha)[kTiles][2]) {
    bool keeps = true;  // nearly always, once a row has met its largest scores
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      keeps = keeps && alpha[tile][0] == 1.0f && alpha[tile][1] == 1.0f;
    }
    if (__all_sync(~0u, keeps)) return;
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
      for (int n = 0; n < kHeadDim / 8; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) out_[tile][n][e] *= alpha[tile][e / 2];
      }
    }
  }

  LYNX_DEVICE void Gather(int row, const uint32_t (&weights)[kTiles][kTokenSteps][4]) {
    const int chunk = ValueChunk<kHeadDim>(row, lane_);
#pragma unroll
    for (int n = 0; n < kHeadDim / 8; n += 2) {
#pragma unroll
      for (int s = 0; s < kTokenSteps; ++s) {
        uint32_t b[4];
        LoadValues(b, ring_ + s * 16 * kRowChunks, chunk, n * 8);
#pragma unroll
        for (int tile = 0; tile < kTiles; ++tile) {
          MmaBf16(out_[tile][n], weights[tile][s], b[0], b[1]);
          MmaBf16(out_[tile][n + 1], weights[tile][s], b[2], b[3]);
        }
      }
    }
  }

  // A row's output; the sign of a zero would tell of tokens that a row does not see.
  LYNX_DEVICE static uint32_t OutputPair(const float* sums, float divisor) {
    return PairOf(ToBf16(sums[0] / divisor + 0.0f), ToBf16(sums[1] / divisor + 0.0f));
  }

  LYNX_DEVICE void WriteRows() const {
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int packed = PackedOf(tile, half);
        if (packed >= PackedRows()) continue;
        const int64_t row = sequence_.row_begin + packed / group_;
        const int64_t q_head = int64_t{head_} * group_ + packed % group_;
        bf16* to = p_.out + row * p_.out_stride + q_head * kHeadDim + lane_ % 4 * 2;
#pragma unroll
        for (int n = 0; n < kHeadDim / 8; ++n) {
          const float* sums = out_[tile][n] + 2 * half;
          *reinterpret_cast<uint32_t*>(to + n * 8) = OutputPair(sums, sum_[tile][half]);
        }
      }
    }
  }

  const PrefillAttentionParams& p_;
  const PrefillSequence& sequence_;
  const int head_, group_, block_begin_, warp_, lane_;
  uint4* ring_;      // kStages BF16 pages of a head
  uint32_t* query_;  // [kTiles] fragments of h(q * scale), this warp's

  Span any_;            // what some of the warp's rows see
  int end_[kTiles][2];  // behind the last position that a row sees
  float max_[kTiles][2];
  float sum_[kTiles][2] = {};
  Sums out_[kTiles][kHeadDim / 8] = {};
};

template <int kHeadDim, int kTiles>
__global__ void __launch_bounds__(kThreads) PrefillAttentionKernel(const PrefillAttentionParams p) {
  PrefillBlock<kHeadDim, kTiles>(p, SmemAlloc()).Run();
}

template <int kHeadDim, int kTiles>
cudaError_t LaunchPrefill(const PrefillAttentionParams& p, cudaStream_t stream) {
  using Block = PrefillBlock<kHeadDim, kTiles>;
  const int64_t packed = p.max_rows * (p.q_heads / p.shape.kv_heads);
  const auto blocks = static_cast<unsigned>((packed + Block::kBlockRows - 1) / Block::kBlockRows);
  return Launch("PrefillAttention", PrefillAttentionKernel<kHeadDim, kTiles>,
                dim3(blocks, static_cast<unsigned>(p.shape.kv_heads),
                     static_cast<unsigned>(p.sequence_count)),
                dim3(kThreads), Block::SharedBytes(), stream, p);
}

}  // namespace

cudaError_t PrefillAttention(const PrefillAttentionParams& params, cudaStream_t stream) {
  if (params.shape.kv_heads <= 0 || !IsHeadDim(params.shape.head_dim) || params.q_heads <= 0 ||
      params.q_heads % params.shape.kv_heads != 0) {
    return cudaErrorInvalidValue;
  }
  if (params.sequence_count == 0 || params.max_rows == 0) return cudaSuccess;
  switch (params.shape.head_dim) {
    case 64:
      return LaunchPrefill<64, 2>(params, stream);
    case 128:
      return LaunchPrefill<128, 2>(params, stream);
    default:
      return LaunchPrefill<256, 1>(params, stream);
  }
}

}  // namespace lynx::cuda
