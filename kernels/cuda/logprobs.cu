#include <algorithm>

#include "kernels/cuda/logprobs.h"
#include "kernels/cuda/sample_select.cuh"

namespace lynx::cuda {
namespace {

static_assert(kLogprobLanes == kSampleThreads && kLogprobChunk == kSampleChunk);

// Of a row, once its chunks are put together.
struct RowSum {
  double max;
  double log_sum;
  int64_t any;  // there is a finite logit
};

struct LogprobScratch {
  RowSum* rows = nullptr;              // [rows]
  CandidateKey* chunk_best = nullptr;  // [rows, chunks]; 0: no finite logit
  double* chunk_sums = nullptr;        // [rows, chunks]
  CandidateKey* keys = nullptr;        // [rows of a launch, chunks, list], of each chunk the first
};

// A launch's arguments. Those of whole rows have block (c, r) for chunk c of row first_row + r.
struct LogprobWork {
  LogprobParams params;
  LogprobScratch scratch;
  int64_t first_row = 0;
  int64_t chunks = 0;
  int list = 0;  // keys kept of a chunk, a power of two

  LYNX_DEVICE int64_t Row() const { return first_row + blockIdx.y; }
  LYNX_DEVICE const LogprobRow& Request() const { return params.requests[Row()]; }
  LYNX_DEVICE const float* Logits() const { return params.logits + Row() * params.vocab; }
  LYNX_DEVICE ChunkPlace Place() const { return ChunkPlace(blockIdx.x, params.vocab); }
  LYNX_DEVICE CandidateKey* Keys(int64_t chunk) const {
    return scratch.keys + (int64_t{blockIdx.y} * chunks + chunk) * list;
  }
};

struct MaxKey {
  LYNX_DEVICE CandidateKey operator()(CandidateKey a, CandidateKey b) const { return max(a, b); }
};

LYNX_DEVICE CandidateKey KeyOrNone(float x, int32_t id) {
  return IsFiniteLogit(x) ? MakeCandidate(x, id) : 0;
}

__global__ void __launch_bounds__(kSampleThreads, 4) LogprobMaxKernel(const LogprobWork work) {
  SmemAlloc smem;
  CandidateKey* room = smem.Take<CandidateKey>(kSampleThreads);
  if (work.Request().top < 0) return;
  const ChunkPlace place = work.Place();
  const float* x = work.Logits() + place.begin;
  CandidateKey own = 0;
  for (int i = static_cast<int>(threadIdx.x); i < place.count; i += kSampleThreads) {
    own = max(own, KeyOrNone(x[i], place.Id(i)));
  }
  const CandidateKey best = ReduceOverBlock(own, room, MaxKey());
  if (threadIdx.x == 0) work.scratch.chunk_best[work.Row() * work.chunks + blockIdx.x] = best;
}

// Of the whole row, for every thread.
LYNX_DEVICE CandidateKey BestOfRow(const LogprobWork& work, CandidateKey* room) {
  const CandidateKey* best = work.scratch.chunk_best + work.Row() * work.chunks;
  CandidateKey own = 0;
  for (int64_t i = threadIdx.x; i < work.chunks; i += kSampleThreads) own = max(own, best[i]);
  return ReduceOverBlock(own, room, MaxKey());
}

// Lane 0 of the tree over all threads' values, for thread 0.
LYNX_DEVICE double SumLanes(double value, double* lanes) {
  lanes[threadIdx.x] = value;
  __syncthreads();
  for (int half = kLogprobLanes / 2; half >= 32; half /= 2) {
    if (static_cast<int>(threadIdx.x) < half) lanes[threadIdx.x] += lanes[threadIdx.x + half];
    __syncthreads();
  }
  value = lanes[threadIdx.x % 32];
  for (int half = 16; half > 0; half /= 2) value += ShuffleXor(value, half);
  return value;
}

__global__ void __launch_bounds__(kSampleThreads, 4) LogprobSumKernel(const LogprobWork work) {
  SmemAlloc smem;
  CandidateKey* room = smem.Take<CandidateKey>(kSampleThreads);
  double* lanes = smem.Take<double>(kLogprobLanes);
  if (work.Request().top < 0) return;
  const CandidateKey best = BestOfRow(work, room);
  if (best == 0) return;
  const double max = CandidateLogit(best);
  const ChunkPlace place = work.Place();
  const float* x = work.Logits() + place.begin;
  double own = 0;
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x); i < place.count; i += kLogprobLanes) {
    own += ExpOfLogit(x[i], max);
  }
  const double sum = SumLanes(own, lanes);
  if (threadIdx.x == 0) work.scratch.chunk_sums[work.Row() * work.chunks + blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kSampleThreads, 4) LogprobFinishKernel(const LogprobWork work) {
  SmemAlloc smem;
  CandidateKey* room = smem.Take<CandidateKey>(kSampleThreads);
  const LogprobRow request = work.Request();
  if (request.top < 0) return;
  const int64_t row = work.Row();
  const CandidateKey best = BestOfRow(work, room);
  if (threadIdx.x != 0) return;
  const double max = CandidateLogit(best);
  const double* sums = work.scratch.chunk_sums + row * work.chunks;
  double sum = 0;
  if (best != 0) {
    for (int64_t i = 0; i < work.chunks; ++i) sum += sums[i];
  }
  const double log_sum = best != 0 ? LogPositive(sum) : 0.0;
  const int32_t id = request.id >= 0 ? request.id : work.params.ids[row];
  const float x = work.Logits()[id];
  work.params.logprobs[row] =
      best != 0 ? LogprobOfLogit(x, max, log_sum) : -std::numeric_limits<double>::infinity();
  work.params.top_counts[row] = 0;
  work.scratch.rows[row] = {max, log_sum, best != 0 ? 1 : 0};
}

LYNX_DEVICE bool WantsTop(const LogprobWork& work) {
  return work.Request().top > 0 && work.scratch.rows[work.Row()].any != 0;
}

// The first work.list keys of each chunk, largest first; 0 where there are fewer.
__global__ void __launch_bounds__(kSampleThreads, 4) TopChunkKernel(const LogprobWork work) {
  SmemAlloc smem;
  CandidateKey* keys = smem.Take<CandidateKey>(kLogprobChunk);
  if (!WantsTop(work)) return;
  const ChunkPlace place = work.Place();
  const float* x = work.Logits() + place.begin;
  int size = work.list;
  while (size < place.count) size *= 2;
  for (int i = static_cast<int>(threadIdx.x); i < size; i += kSampleThreads) {
    keys[i] = i < place.count ? KeyOrNone(x[i], place.Id(i)) : 0;
  }
  __syncthreads();
  SortKeys(keys, size);
  CandidateKey* out = work.Keys(blockIdx.x);
  for (int i = static_cast<int>(threadIdx.x); i < work.list; i += kSampleThreads) out[i] = keys[i];
}

// keys[list], largest first, becomes the first `list` of both lists.
LYNX_DEVICE void MergeKeys(CandidateKey* keys, const CandidateKey* other, int list) {
  // One list ascending against the other descending: the larger of each pair are what stays, in an
  // order that merging steps finish.
  for (int i = static_cast<int>(threadIdx.x); i < list; i += kSampleThreads) {
    keys[i] = max(keys[i], other[list - 1 - i]);
  }
  __syncthreads();
  for (int distance = list / 2; distance > 0; distance /= 2) {
    for (int i = static_cast<int>(threadIdx.x); i < list / 2; i += kSampleThreads) {
      const int a = i / distance * (2 * distance) + i % distance;
      const CandidateKey first = keys[a], second = keys[a + distance];
      keys[a] = max(first, second);
      keys[a + distance] = min(first, second);
    }
    __syncthreads();
  }
}

__global__ void __launch_bounds__(kSampleThreads, 4) TopRowKernel(const LogprobWork work) {
  SmemAlloc smem;
  CandidateKey* keys = smem.Take<CandidateKey>(kTopLogprobsMax);
  if (!WantsTop(work)) return;
  for (int i = static_cast<int>(threadIdx.x); i < work.list; i += kSampleThreads) {
    keys[i] = work.Keys(0)[i];
  }
  __syncthreads();
  for (int64_t chunk = 1; chunk < work.chunks; ++chunk) {
    MergeKeys(keys, work.Keys(chunk), work.list);
  }
  const LogprobRow request = work.Request();
  const RowSum sum = work.scratch.rows[work.Row()];
  TopLogprobEntry* out = work.params.top + request.top_begin;
  for (int i = static_cast<int>(threadIdx.x); i < request.top; i += kSampleThreads) {
    if (keys[i] == 0) break;
    const float x = CandidateLogit(keys[i]);
    out[i] = {LogprobOfLogit(x, sum.max, sum.log_sum), CandidateId(keys[i]), 0};
    if (i + 1 == request.top || keys[i + 1] == 0) work.params.top_counts[work.Row()] = i + 1;
  }
}

// ---- host

int64_t ChunksOf(int64_t vocab) { return (vocab + kLogprobChunk - 1) / kLogprobChunk; }

// Lists of this length for all rows at once, longer ones for fewer.
constexpr int64_t kKeysARow = 32;

int64_t KeysAChunk(int64_t rows) { return std::max(rows * kKeysARow, int64_t{kTopLogprobsMax}); }

struct ScratchPlan {
  size_t rows, chunk_best, chunk_sums, keys, end;

  ScratchPlan(int64_t row_count, int64_t vocab) {
    const auto chunks = static_cast<size_t>(ChunksOf(vocab));
    const auto all = static_cast<size_t>(row_count);
    rows = 0;
    chunk_best = SmemEnd(rows + all * sizeof(RowSum), 0);
    chunk_sums = SmemEnd(chunk_best + all * chunks * sizeof(CandidateKey), 0);
    keys = SmemEnd(chunk_sums + all * chunks * sizeof(double), 0);
    end = keys + static_cast<size_t>(KeysAChunk(row_count)) * chunks * sizeof(CandidateKey);
  }
};

bool Supported(const LogprobParams& params) {
  constexpr int64_t kMaxRows = 65535;
  return params.rows >= 0 && params.rows <= kMaxRows && params.vocab > 0 &&
         params.vocab <= kMaxSamplingVocab && params.top_max <= kTopLogprobsMax;
}

// The launches over params.rows rows from work.first_row on.
class Launcher {
 public:
  Launcher(const LogprobWork& work, cudaStream_t stream) : work_(work), stream_(stream) {}

  void Run(const char* name, void (*kernel)(LogprobWork), int64_t columns, int64_t rows,
           size_t smem) {
    if (error_ != cudaSuccess) return;
    const dim3 grid(static_cast<unsigned>(columns), static_cast<unsigned>(rows));
    error_ = Launch(name, kernel, grid, dim3(kSampleThreads), smem, stream_, work_);
  }
  void RunTop() {
    while (work_.list < work_.params.top_max) work_.list *= 2;
    const int64_t at_once = KeysAChunk(work_.params.rows) / work_.list;
    for (; work_.first_row < work_.params.rows; work_.first_row += at_once) {
      const int64_t rows = std::min(at_once, work_.params.rows - work_.first_row);
      Run("TopChunk", TopChunkKernel, work_.chunks, rows, kLogprobChunk * sizeof(CandidateKey));
      Run("TopRow", TopRowKernel, 1, rows, kTopLogprobsMax * sizeof(CandidateKey));
    }
  }
  cudaError_t error() const { return error_; }

 private:
  LogprobWork work_;
  const cudaStream_t stream_;
  cudaError_t error_ = cudaSuccess;
};

}  // namespace

size_t LogprobScratchBytes(int64_t rows, int64_t vocab) { return ScratchPlan(rows, vocab).end; }

cudaError_t RowLogprobs(const LogprobParams& params, cudaStream_t stream) {
  if (!Supported(params)) return cudaErrorInvalidValue;
  if (params.rows == 0) return cudaSuccess;
  const ScratchPlan plan(params.rows, params.vocab);
  auto* base = static_cast<std::byte*>(params.scratch);
  Launcher launcher(
      {.params = params,
       .scratch = {.rows = reinterpret_cast<RowSum*>(base + plan.rows),
                   .chunk_best = reinterpret_cast<CandidateKey*>(base + plan.chunk_best),
                   .chunk_sums = reinterpret_cast<double*>(base + plan.chunk_sums),
                   .keys = reinterpret_cast<CandidateKey*>(base + plan.keys)},
       .chunks = ChunksOf(params.vocab),
       .list = 1},
      stream);
  const int64_t chunks = ChunksOf(params.vocab);
  constexpr size_t kRoom = kSampleThreads * sizeof(CandidateKey);
  launcher.Run("LogprobMax", LogprobMaxKernel, chunks, params.rows, kRoom);
  launcher.Run("LogprobSum", LogprobSumKernel, chunks, params.rows,
               SmemEnd(kRoom, kLogprobLanes * sizeof(double)));
  launcher.Run("LogprobFinish", LogprobFinishKernel, 1, params.rows, kRoom);
  if (params.top_max > 0) launcher.RunTop();
  return launcher.error();
}

}  // namespace lynx::cuda
