// The rare case: more candidates in one step than can be sorted at once, such as a vocabulary of
// equal logits. One block takes the row alone, in ever finer steps.
#pragma once

#include "kernels/cuda/sample_select.cuh"

namespace lynx::cuda {

// A part of the order of keys.
struct KeyRange {
  CandidateKey low, high;  // both included

  LYNX_DEVICE bool Has(CandidateKey key) const { return key >= low && key <= high; }
  // So that kSampleBins bins of 2^shift keys cover it.
  LYNX_DEVICE int Shift() const {
    constexpr int kBinBits = 10;
    static_assert(1 << kBinBits == kSampleBins);
    return max(0, 64 - kBinBits - __clzll(static_cast<long long>(high - low)));
  }
  // Bin 0 holds the largest keys.
  LYNX_DEVICE int BinOf(CandidateKey key, int shift) const {
    return static_cast<int>((high - key) >> shift);
  }
  LYNX_DEVICE KeyRange Bin(int bin, int shift) const {
    const CandidateKey top = high - (static_cast<CandidateKey>(bin) << shift);
    return {top - min(top - low, (CandidateKey{1} << shift) - 1), top};
  }
};

// A row for a block that walks it alone.
struct WholeRow {
  const SampleRow& row;
  const float* logits;
  int64_t vocab;

  // f(place) for each chunk, its logits being in x.
  template <class F>
  LYNX_DEVICE void ForEachChunk(float* x, F f) const {
    const int64_t chunks = (vocab + kSampleChunk - 1) / kSampleChunk;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      const ChunkPlace place(chunk, vocab);
      LoadChunk(row, logits, place, x);
      f(place);
    }
  }
};

// The part of `range` in which the weight wanted is reached; edge's `before` follows it.
// bins: [kSampleBins], overwritten.
LYNX_DEVICE KeyRange Narrow(const Selection& selection, int step, const KeyRange& range,
                            const WholeRow& whole, SampleBin* bins, const SelectRoom& room,
                            SampleEdge* edge) {
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < kSampleBins; i += kSampleThreads) {
    bins[i] = SampleBin{};
  }
  __threadfence();
  __syncthreads();
  const int shift = range.Shift();
  whole.ForEachChunk(room.x, [&](const ChunkPlace& place) {
    const auto bin_of = [&](float x, int32_t id) {
      if (!selection.Takes(x, id) || selection.BinOf(x) != step) return -1;
      const CandidateKey key = MakeCandidate(x, id);
      return range.Has(key) ? range.BinOf(key, shift) : -1;
    };
    CountChunk(selection, room.x, place, bin_of, ChunkBins(room.words), bins);
  });
  __threadfence();
  __syncthreads();
  const SampleEdge found = FindEdge(
      kSampleBins, edge->before, [&](int i) { return WeightOfBin(bins + i); },
      [&](Mass) { return edge->wanted; }, room.edge);
  edge->before = found.before;
  return range.Bin(found.bin, shift);
}

// The same as CutoffInList for a step that does not fit the list.
LYNX_DEVICE CandidateKey CutoffByNarrowing(const Selection& selection, SampleEdge edge,
                                           const WholeRow& whole, SampleBin* bins,
                                           CandidateKey* keys, uint32_t* listed,
                                           const SelectRoom& room) {
  const int step = edge.bin;
  KeyRange range{0, ~CandidateKey{0}};
  uint32_t count;
  do {
    range = Narrow(selection, step, range, whole, bins, room, &edge);
    if (threadIdx.x == 0) atomicExch(listed, 0u);
    __threadfence();
    __syncthreads();
    whole.ForEachChunk(room.x, [&](const ChunkPlace& place) {
      const auto takes = [&](float x, int32_t id) {
        return selection.Takes(x, id) && selection.BinOf(x) == step &&
               range.Has(MakeCandidate(x, id));
      };
      ListChunk(room.x, place, takes, keys, listed);
    });
    __threadfence();
    __syncthreads();
    count = __ldcg(listed);
  } while (count > kSampleKeys);
  return CutoffInList(selection, edge, keys, static_cast<int>(count), room);
}

}  // namespace lynx::cuda
