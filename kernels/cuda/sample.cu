#include "kernels/cuda/sample.h"
#include "kernels/cuda/sample_draw.cuh"
#include "kernels/cuda/sample_narrow.cuh"
#include "kernels/cuda/sample_select.cuh"

namespace lynx::cuda {
namespace {

// A launch's arguments: block (c, r) has chunk c of row r.
struct SampleWork {
  SampleParams params;
  SampleScratch scratch;

  LYNX_DEVICE const SampleRow& Row() const { return params.requests[blockIdx.y]; }
  LYNX_DEVICE const float* Logits() const { return params.logits + blockIdx.y * params.vocab; }
  LYNX_DEVICE ChunkPlace Place() const { return ChunkPlace(blockIdx.x, params.vocab); }
  LYNX_DEVICE SampleState* State() const { return scratch.states + blockIdx.y; }
  LYNX_DEVICE SampleBin* Bins(SampleStage stage) const {
    return scratch.bins + (int64_t{blockIdx.y} * kSampleStages + stage) * kSampleBins;
  }
  LYNX_DEVICE CandidateKey* Keys(SampleStage stage) const {
    return scratch.keys + (int64_t{blockIdx.y} * kSampleStages + stage) * kSampleKeys;
  }
};

LYNX_DEVICE void Write(const SampleWork& work, int32_t id, double margin, bool invalid) {
  if (threadIdx.x != 0) return;
  work.params.ids[blockIdx.y] = id;
  work.params.margins[blockIdx.y] = margin;
  work.params.invalid[blockIdx.y] = invalid ? 1 : 0;
}

// The lowest id that is not banned, 0 if all are. lowest: in shared memory.
LYNX_DEVICE void WriteNothingLeft(const SampleWork& work, uint32_t* lowest) {
  const SampleRow& row = work.Row();
  const auto vocab = static_cast<uint32_t>(work.params.vocab);
  __syncthreads();
  if (threadIdx.x == 0) *lowest = vocab;
  __syncthreads();
  // Of banned_count + 1 ids one is not banned.
  const uint32_t end = min(vocab, static_cast<uint32_t>(row.banned_count) + 1);
  for (uint32_t id = threadIdx.x; id < end; id += kSampleThreads) {
    bool banned = false;
    for (int i = 0; i < row.banned_count; ++i) banned |= row.banned[i] == static_cast<int32_t>(id);
    if (!banned) atomicMin(lowest, id);
  }
  __syncthreads();
  Write(work, *lowest < vocab ? static_cast<int32_t>(*lowest) : 0, 0.0, true);
}

// All blocks' results of a row, for every thread of its last block.
template <class Result, class Combination>
LYNX_DEVICE Result CombineBlocks(const Result* results, Result empty, Combination combine,
                                 Result* room) {
  Result result = empty;
  for (unsigned i = threadIdx.x; i < gridDim.x; i += kSampleThreads) {
    result = combine(result, LoadFromOthers(results + i));
  }
  return ReduceOverBlock(result, room, combine);
}

LYNX_DEVICE void FinishDraw(const SampleWork& work, const DrawResult& chunk, uint32_t* done,
                            DrawResult* room, uint32_t* flag) {
  DrawResult* results = work.scratch.draws + int64_t{blockIdx.y} * gridDim.x;
  if (threadIdx.x == 0) results[blockIdx.x] = chunk;
  if (!IsLastBlock(done, flag)) return;
  const DrawResult drawn = CombineBlocks(results, EmptyDraw(), CombineDraws(), room);
  if (drawn.best == EmptyDraw().best) return WriteNothingLeft(work, flag);
  Write(work, drawn.id, drawn.best - drawn.second, drawn.invalid != 0);
}

// Rows that are neither greedy nor filtered: all finite logits are candidates.
LYNX_DEVICE void DrawUnfiltered(const SampleWork& work, const float* x, DrawResult* room,
                                uint32_t* flag) {
  const ChunkPlace place = work.Place();
  DrawResult chunk = DrawChunk(
      Drawing(work.Row()), x, place, [](float logit, int32_t) { return IsFiniteLogit(logit); },
      room);
  __syncthreads();
  if (threadIdx.x == 0) *flag = 0;
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < place.count; i += kSampleThreads) {
    if (IsInvalidLogit(x[i])) atomicOr(flag, 1u);
  }
  __syncthreads();
  chunk.invalid = *flag;
  __syncthreads();
  FinishDraw(work, chunk, &work.State()->scanned, room, flag);
}

// Greedy rows are done with the scan of the logits; others keep its result for the filters.
LYNX_DEVICE void FinishScan(const SampleWork& work, const ScanResult& chunk, ScanResult* room,
                            uint32_t* flag) {
  ScanResult* results = work.scratch.scans + int64_t{blockIdx.y} * gridDim.x;
  if (threadIdx.x == 0) results[blockIdx.x] = chunk;
  SampleState* state = work.State();
  if (!IsLastBlock(&state->scanned, flag)) return;
  const ScanResult scan = CombineBlocks(results, EmptyScan(), CombineScans(), room);
  if (scan.best == 0) return WriteNothingLeft(work, flag);
  if (IsGreedy(work.Row())) {
    const double second =
        scan.second != 0 ? CandidateLogit(scan.second) : -std::numeric_limits<double>::infinity();
    return Write(work, CandidateId(scan.best), CandidateLogit(scan.best) - second,
                 scan.invalid != 0);
  }
  if (threadIdx.x != 0) return;
  state->best = scan.best;
  state->lowest = scan.lowest;
  state->invalid = scan.invalid != 0 ? 1 : 0;
}

__global__ void __launch_bounds__(kSampleThreads, 2) ScanKernel(const SampleWork work) {
  SmemAlloc smem;
  float* x = smem.Take<float>(kSampleChunk);
  ScanResult* scans = smem.Take<ScanResult>(kSampleThreads);
  DrawResult* draws = smem.Take<DrawResult>(kSampleThreads);
  uint32_t* flag = smem.Take<uint32_t>(1);
  LoadChunk(work.Row(), work.Logits(), work.Place(), x);
  if (!IsGreedy(work.Row()) && !HasFilters(work.Row(), work.params.vocab)) {
    return DrawUnfiltered(work, x, draws, flag);
  }
  const ScanResult chunk = ReduceOverBlock(ScanChunk(x, work.Place()), scans, CombineScans());
  FinishScan(work, chunk, scans, flag);
}

size_t ScanSmem() {
  size_t end = SmemEnd(0, kSampleChunk * sizeof(float));
  end = SmemEnd(end, kSampleThreads * sizeof(ScanResult));
  end = SmemEnd(end, kSampleThreads * sizeof(DrawResult));
  return SmemEnd(end, sizeof(uint32_t));
}

LYNX_DEVICE bool HasStage(const SampleWork& work, SampleStage stage) {
  if (work.State()->best == 0) return false;
  return stage == kTopKStage ? HasTopK(work.Row(), work.params.vocab) : work.Row().top_p < 1.0;
}

// What top_k and top_p want of all that there is. Not 0: at least one token is kept.
LYNX_DEVICE Mass Wanted(SampleStage stage, const SampleRow& row, Mass total) {
  if (stage == kTopKStage) return static_cast<Mass>(row.top_k) << 53;
  const Mass wanted = WantedMass(row.top_p, total);
  return wanted > 0 ? wanted : 1;
}

// Finds the step of distance from the best candidate in which the stage's filter cuts.
__global__ void __launch_bounds__(kSampleThreads, 2)
    CountKernel(const SampleWork work, const SampleStage stage) {
  SmemAlloc smem;
  float* x = smem.Take<float>(kSampleChunk);
  uint32_t* words = smem.Take<uint32_t>(ChunkBins::kWords);
  EdgeRoom* room = smem.Take<EdgeRoom>(1);
  uint32_t* flag = smem.Take<uint32_t>(1);
  if (!HasStage(work, stage)) return;
  const SampleRow& row = work.Row();
  const Selection selection(stage, row, *work.State());
  LoadChunk(row, work.Logits(), work.Place(), x);
  const auto bin_of = [&](float logit, int32_t id) {
    return selection.Takes(logit, id) ? selection.BinOf(logit) : -1;
  };
  CountChunk(selection, x, work.Place(), bin_of, ChunkBins(words), work.Bins(stage));
  if (!IsLastBlock(&work.State()->counted[stage], flag)) return;
  const SampleBin* bins = work.Bins(stage);
  const SampleEdge edge = FindEdge(
      kSampleBins, Mass{0}, [&](int i) { return WeightOfBin(bins + i); },
      [&](Mass total) { return Wanted(stage, row, total); }, room);
  if (threadIdx.x == 0) work.State()->edges[stage] = edge;
}

size_t CountSmem() {
  size_t end = SmemEnd(0, kSampleChunk * sizeof(float));
  end = SmemEnd(end, ChunkBins::kWords * sizeof(uint32_t));
  end = SmemEnd(end, sizeof(EdgeRoom));
  return SmemEnd(end, sizeof(uint32_t));
}

// Finds the candidate of that step at which the filter cuts.
__global__ void __launch_bounds__(kSampleThreads, 2)
    CutKernel(const SampleWork work, const SampleStage stage) {
  SmemAlloc smem;
  const SelectRoom room{.x = smem.Take<float>(kSampleChunk),
                        .words = smem.Take<uint32_t>(ChunkBins::kWords),
                        .edge = smem.Take<EdgeRoom>(1),
                        .keys = smem.Take<CandidateKey>(kSampleKeys)};
  uint32_t* flag = smem.Take<uint32_t>(1);
  SampleState* state = work.State();
  if (!HasStage(work, stage) || state->edges[stage].found == 0) return;
  const SampleRow& row = work.Row();
  const Selection selection(stage, row, *state);
  const SampleEdge edge = state->edges[stage];
  LoadChunk(row, work.Logits(), work.Place(), room.x);
  const auto takes = [&](float logit, int32_t id) {
    return selection.Takes(logit, id) && selection.BinOf(logit) == edge.bin;
  };
  uint32_t* listed = &state->listed[stage];
  ListChunk(room.x, work.Place(), takes, work.Keys(stage), listed);
  if (!IsLastBlock(&state->gathered[stage], flag)) return;
  const uint32_t count = __ldcg(listed);
  const WholeRow whole{row, work.Logits(), work.params.vocab};
  const CandidateKey cutoff =
      count <= kSampleKeys
          ? CutoffInList(selection, edge, work.Keys(stage), static_cast<int>(count), room)
          : CutoffByNarrowing(selection, edge, whole, work.Bins(stage), work.Keys(stage), listed,
                              room);
  if (threadIdx.x == 0) state->cutoff = cutoff;
}

size_t CutSmem() {
  size_t end = SmemEnd(0, kSampleChunk * sizeof(float));
  end = SmemEnd(end, ChunkBins::kWords * sizeof(uint32_t));
  end = SmemEnd(end, sizeof(EdgeRoom));
  end = SmemEnd(end, kSampleKeys * sizeof(CandidateKey));
  return SmemEnd(end, sizeof(uint32_t));
}

// Draws from what the filters left.
__global__ void __launch_bounds__(kSampleThreads, 2) DrawKernel(const SampleWork work) {
  SmemAlloc smem;
  float* x = smem.Take<float>(kSampleChunk);
  DrawResult* draws = smem.Take<DrawResult>(kSampleThreads);
  uint32_t* flag = smem.Take<uint32_t>(1);
  SampleState* state = work.State();
  if (state->best == 0) return;
  const SampleRow& row = work.Row();
  LoadChunk(row, work.Logits(), work.Place(), x);
  const Drawing drawing(row);
  const double best_z = CandidateLogit(state->best) * drawing.inverse_t;
  const double floor = MinPFloor(row);
  const CandidateKey cutoff = state->cutoff;
  const auto takes = [&](float logit, int32_t id) {
    return IsFiniteLogit(logit) && MakeCandidate(logit, id) >= cutoff &&
           logit * drawing.inverse_t - best_z >= floor;
  };
  DrawResult chunk = DrawChunk(drawing, x, work.Place(), takes, draws);
  chunk.invalid = state->invalid;
  FinishDraw(work, chunk, &state->drawn, draws, flag);
}

size_t DrawSmem() {
  size_t end = SmemEnd(0, kSampleChunk * sizeof(float));
  end = SmemEnd(end, kSampleThreads * sizeof(DrawResult));
  return SmemEnd(end, sizeof(uint32_t));
}

// ---- host

int64_t ChunksOf(int64_t vocab) { return (vocab + kSampleChunk - 1) / kSampleChunk; }

// Places in the scratch, one behind the other; states and bins, which start as zeros, come first.
struct ScratchPlan {
  size_t states, bins, scans, draws, keys, end;

  ScratchPlan(int64_t rows, int64_t vocab) {
    const auto row_count = static_cast<size_t>(rows);
    const auto chunks = static_cast<size_t>(ChunksOf(vocab));
    states = 0;
    bins = SmemEnd(0, row_count * sizeof(SampleState));
    bins = SmemEnd(bins, 0);
    scans = SmemEnd(bins + row_count * kSampleStages * kSampleBins * sizeof(SampleBin), 0);
    draws = SmemEnd(scans + row_count * chunks * sizeof(ScanResult), 0);
    keys = SmemEnd(draws + row_count * chunks * sizeof(DrawResult), 0);
    end = keys + row_count * kSampleStages * kSampleKeys * sizeof(CandidateKey);
  }
};

bool Supported(const SampleParams& params) {
  constexpr int64_t kMaxRows = 65535;
  return params.rows >= 0 && params.rows <= kMaxRows && params.vocab > 0 &&
         params.vocab <= kMaxSamplingVocab;
}

}  // namespace

size_t SampleScratchBytes(int64_t rows, int64_t vocab) { return ScratchPlan(rows, vocab).end; }

cudaError_t Sample(const SampleParams& params, cudaStream_t stream) {
  if (!Supported(params)) return cudaErrorInvalidValue;
  if (params.rows == 0) return cudaSuccess;
  const ScratchPlan plan(params.rows, params.vocab);
  auto* base = static_cast<std::byte*>(params.scratch);
  const SampleWork work{params,
                        {.states = reinterpret_cast<SampleState*>(base + plan.states),
                         .bins = reinterpret_cast<SampleBin*>(base + plan.bins),
                         .scans = reinterpret_cast<ScanResult*>(base + plan.scans),
                         .draws = reinterpret_cast<DrawResult*>(base + plan.draws),
                         .keys = reinterpret_cast<CandidateKey*>(base + plan.keys)}};
  const bool stages = params.any_top_k || params.any_top_p;
  cudaError_t error = cudaMemsetAsync(base, 0, stages ? plan.scans : plan.bins, stream);
  const dim3 grid(static_cast<unsigned>(ChunksOf(params.vocab)),
                  static_cast<unsigned>(params.rows));
  const auto launch = [&](const char* name, auto kernel, size_t smem, auto... arguments) {
    if (error != cudaSuccess) return;
    error = Launch(name, kernel, grid, dim3(kSampleThreads), smem, stream, work, arguments...);
  };
  launch("SampleScan", ScanKernel, ScanSmem());
  for (const SampleStage stage : {kTopKStage, kTopPStage}) {
    if (stage == kTopKStage ? !params.any_top_k : !params.any_top_p) continue;
    launch("SampleCount", CountKernel, CountSmem(), stage);
    launch("SampleCut", CutKernel, CutSmem(), stage);
  }
  if (stages || params.any_min_p) launch("SampleDraw", DrawKernel, DrawSmem());
  return error;
}

}  // namespace lynx::cuda
