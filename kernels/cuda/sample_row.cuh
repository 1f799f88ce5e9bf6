// One row's request, and a chunk of its adjusted logits.
#pragma once

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/sample_scratch.h"

namespace lynx::cuda {

// A block's chunk. Element i belongs to thread i % kSampleThreads.
struct ChunkPlace {
  int64_t begin;
  int count;

  LYNX_DEVICE ChunkPlace(int64_t chunk, int64_t vocab)
      : begin(chunk * kSampleChunk),
        count(static_cast<int>(min(int64_t{kSampleChunk}, vocab - begin))) {}
  LYNX_DEVICE bool Has(int32_t id) const { return id >= begin && id < begin + count; }
  LYNX_DEVICE int32_t Id(int i) const { return static_cast<int32_t>(begin + i); }
};

LYNX_DEVICE bool IsGreedy(const SampleRow& row) { return row.temperature < kGreedyTemperature; }

LYNX_DEVICE bool HasTopK(const SampleRow& row, int64_t vocab) {
  return row.top_k > 0 && row.top_k < vocab;
}

// A denormal counts as 0, as it does on the host (SetExactFloatMode).
LYNX_DEVICE bool HasMinP(const SampleRow& row) { return row.min_p >= 0x1p-1022; }

LYNX_DEVICE bool HasFilters(const SampleRow& row, int64_t vocab) {
  return HasTopK(row, vocab) || row.top_p < 1.0 || HasMinP(row);
}

// z - max z of min_p's candidates is at least this.
LYNX_DEVICE double MinPFloor(const SampleRow& row) {
  return HasMinP(row) ? LogPositive(row.min_p) : -std::numeric_limits<double>::infinity();
}

LYNX_DEVICE LogitPenalties PenaltiesOf(const SampleRow& row) {
  return {row.repetition_penalty, row.presence_penalty, row.frequency_penalty};
}

// The first of items[count], in ascending order of ids, whose id is not below `id`.
template <class Item>
LYNX_DEVICE int LowerBound(const Item* items, int count, int64_t id) {
  int begin = 0;
  while (begin < count) {
    const int middle = begin + (count - begin) / 2;
    if (items[middle].id < id) {
      begin = middle + 1;
    } else {
      count = middle;
    }
  }
  return begin;
}

LYNX_DEVICE int32_t CountInPath(const SampleRow& row, int32_t id) {
  int32_t count = 0;
  for (int i = 0; i < row.path_count; ++i) count += row.path[i] == id ? 1 : 0;
  return count;
}

// The item of row.seen[seen_count], or null.
LYNX_DEVICE const SeenToken* FindSeen(const SampleRow& row, int seen_count, int32_t id) {
  const int at = LowerBound(row.seen, seen_count, id);
  return at < seen_count && row.seen[at].id == id ? row.seen + at : nullptr;
}

// x holds the raw logits of the chunk.
LYNX_DEVICE void Penalize(const SampleRow& row, const ChunkPlace& place, float* x) {
  const LogitPenalties penalties = PenaltiesOf(row);
  const int end = LowerBound(row.seen, row.seen_count, place.begin + place.count);
  for (int i = LowerBound(row.seen, row.seen_count, place.begin) + static_cast<int>(threadIdx.x);
       i < end; i += kSampleThreads) {
    const SeenToken seen = row.seen[i];
    const int32_t count = seen.output_count + CountInPath(row, seen.id);
    float* logit = x + (seen.id - place.begin);
    *logit = RoundAdjustedLogit(PenalizedLogit(*logit, penalties, true, count));
  }
  // What the path alone holds: an id is the business of the last place that it stands in.
  for (int i = static_cast<int>(threadIdx.x); i < row.path_count; i += kSampleThreads) {
    const int32_t id = row.path[i];
    if (!place.Has(id) || FindSeen(row, row.seen_count, id) != nullptr) continue;
    bool last = true;
    for (int j = i + 1; j < row.path_count; ++j) last &= row.path[j] != id;
    if (!last) continue;
    float* logit = x + (id - place.begin);
    *logit = RoundAdjustedLogit(PenalizedLogit(*logit, penalties, true, CountInPath(row, id)));
  }
}

// logits: of the row. A biased logit is penalized again, so that it is rounded once.
LYNX_DEVICE void AddBiases(const SampleRow& row, const float* logits, const ChunkPlace& place,
                           float* x) {
  const LogitPenalties penalties = PenaltiesOf(row);
  const int seen_count = penalties.any() ? row.seen_count : 0;
  const int end = LowerBound(row.biases, row.bias_count, place.begin + place.count);
  for (int i = LowerBound(row.biases, row.bias_count, place.begin) + static_cast<int>(threadIdx.x);
       i < end; i += kSampleThreads) {
    const LogitBias bias = row.biases[i];
    const SeenToken* found = FindSeen(row, seen_count, bias.id);
    const int32_t in_path = penalties.any() ? CountInPath(row, bias.id) : 0;
    const int32_t count = (found != nullptr ? found->output_count : 0) + in_path;
    const double penalized =
        PenalizedLogit(logits[bias.id], penalties, found != nullptr || in_path > 0, count);
    x[bias.id - place.begin] = RoundAdjustedLogit(penalized + bias.addend);
  }
}

LYNX_DEVICE void Ban(const SampleRow& row, const ChunkPlace& place, float* x) {
  for (int i = static_cast<int>(threadIdx.x); i < row.banned_count; i += kSampleThreads) {
    const int32_t id = row.banned[i];
    // Atomic: an id may be listed twice.
    if (place.Has(id)) {
      atomicExch(x + (id - place.begin), -std::numeric_limits<float>::infinity());
    }
  }
}

// x[kSampleChunk] in shared memory: the chunk's adjusted logits, each for the thread that it
// belongs to.
LYNX_DEVICE void LoadChunk(const SampleRow& row, const float* logits, const ChunkPlace& place,
                           float* x) {
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x); i < place.count; i += kSampleThreads) {
    x[i] = logits[place.begin + i];
  }
  const bool penalizes = PenaltiesOf(row).any() && (row.seen_count > 0 || row.path_count > 0);
  if (!penalizes && row.bias_count == 0 && row.banned_count == 0) return;
  __syncthreads();
  if (penalizes) Penalize(row, place, x);
  __syncthreads();
  AddBiases(row, logits, place, x);
  __syncthreads();
  Ban(row, place, x);
  __syncthreads();
}

}  // namespace lynx::cuda
