// Where top_k and top_p cut the order of the candidates.
#pragma once

#include "kernels/cuda/sample_block.cuh"
#include "kernels/cuda/sample_row.cuh"

namespace lynx::cuda {

// Logits farther than this below the best one share top_k's last bin.
inline constexpr double kTopKReach = 64.0;

// One filter of one row. Weights are masses, or 1 each for top_k; bins are steps of distance from
// the best candidate. What is kept does not depend on how the bins are cut.
class Selection {
 public:
  LYNX_DEVICE Selection(SampleStage stage, const SampleRow& row, const SampleState& state)
      : counts_(stage == kTopKStage),
        cutoff_(counts_ ? 0 : state.cutoff),
        inverse_t_(1.0 / row.temperature),
        best_(CandidateLogit(state.best)),
        best_z_(best_ * inverse_t_),
        // Those without mass are not needed to reach any share of it.
        floor_(counts_ ? -std::numeric_limits<double>::infinity()
                       : max(kMassFloor, MinPFloor(row))) {
    const double lowest = CandidateLogit(max(state.lowest, cutoff_));
    const double reach = counts_ ? kTopKReach : -floor_ * row.temperature;
    const double range = min(best_ - lowest, reach);
    bins_per_unit_ = range > 0 ? (kSampleBins - 1) / range : 0;
  }

  LYNX_DEVICE bool Takes(float x, int32_t id) const {
    return IsFiniteLogit(x) && MakeCandidate(x, id) >= cutoff_ &&
           x * inverse_t_ - best_z_ >= floor_;
  }
  // Never smaller for a smaller x.
  LYNX_DEVICE int BinOf(float x) const {
    return static_cast<int>(min((best_ - x) * bins_per_unit_, double{kSampleBins - 1}));
  }
  LYNX_DEVICE uint64_t WeightOf(float x) const {
    return counts_ ? 1 : MassOfExp(ExpNonPositive(x * inverse_t_ - best_z_));
  }

 private:
  bool counts_;
  CandidateKey cutoff_;
  double inverse_t_, best_, best_z_, floor_, bins_per_unit_;
};

// Sums of weights by bin, in shared memory, of one chunk: a weight in three parts of 18 bits, whose
// sums have room in 32 (atomics of 64 bits would be loops there).
class ChunkBins {
 public:
  static constexpr size_t kWords = 3 * kSampleBins;
  LYNX_DEVICE explicit ChunkBins(uint32_t* words) : words_(words) {}

  LYNX_DEVICE void Clear() {
    for (size_t i = threadIdx.x; i < kWords; i += kSampleThreads) words_[i] = 0;
  }
  LYNX_DEVICE void Add(int bin, uint64_t weight) {
#pragma unroll
    for (int part = 0; part < 3; ++part) {
      const uint32_t bits = static_cast<uint32_t>(weight >> (kPartBits * part)) & kPartMask;
      if (bits != 0) atomicAdd(words_ + part * kSampleBins + bin, bits);
    }
  }
  // Adds them to the row's bins.
  LYNX_DEVICE void AddTo(SampleBin* bins) const {
    for (int bin = static_cast<int>(threadIdx.x); bin < kSampleBins; bin += kSampleThreads) {
      unsigned long long sum = 0;  // of 2^12 weights of at most 2^51
#pragma unroll
      for (int part = 0; part < 3; ++part) {
        sum += static_cast<unsigned long long>(words_[part * kSampleBins + bin])
               << (kPartBits * part);
      }
      if ((sum & 0xffffffffu) != 0) atomicAdd(&bins[bin].low, sum & 0xffffffffu);
      if ((sum >> 32) != 0) atomicAdd(&bins[bin].high, sum >> 32);
    }
  }

 private:
  static constexpr int kPartBits = 18;
  static constexpr uint32_t kPartMask = (1u << kPartBits) - 1;
  static_assert(kSampleChunk <= 1 << (32 - kPartBits));
  uint32_t* words_;
};

LYNX_DEVICE Mass WeightOfBin(const SampleBin* bin) {
  return (static_cast<Mass>(__ldcg(&bin->high)) << 32) + __ldcg(&bin->low);
}

// Adds a chunk to the row's bins. x: its adjusted logits. bin_of(x, id) is -1 for what is not
// taken.
template <class BinOf>
LYNX_DEVICE void CountChunk(const Selection& selection, const float* x, const ChunkPlace& place,
                            BinOf bin_of, ChunkBins chunk_bins, SampleBin* bins) {
  chunk_bins.Clear();
  __syncthreads();
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x); i < place.count; i += kSampleThreads) {
    const int bin = bin_of(x[i], place.Id(i));
    if (bin >= 0) chunk_bins.Add(bin, selection.WeightOf(x[i]));
  }
  __syncthreads();
  chunk_bins.AddTo(bins);
}

// Appends the keys of a chunk that takes(x, id) takes to keys[kSampleKeys], in any order; *listed
// counts on behind its end.
template <class Takes>
LYNX_DEVICE void ListChunk(const float* x, const ChunkPlace& place, Takes takes, CandidateKey* keys,
                           uint32_t* listed) {
  for (int i = static_cast<int>(threadIdx.x); i < place.count; i += kSampleThreads) {
    if (!takes(x[i], place.Id(i))) continue;
    const uint32_t at = atomicAdd(listed, 1u);
    if (at < kSampleKeys) __stcg(keys + at, MakeCandidate(x[i], place.Id(i)));
  }
}

// Bitonic, largest first. keys: [size], size a power of two.
LYNX_DEVICE void SortKeys(CandidateKey* keys, int size) {
  for (int run = 2; run <= size; run *= 2) {
    for (int distance = run / 2; distance > 0; distance /= 2) {
      for (int i = static_cast<int>(threadIdx.x); i < size / 2; i += kSampleThreads) {
        const int a = i / distance * (2 * distance) + i % distance;
        const int b = a + distance;
        const bool descending = (a & run) == 0;
        if ((keys[a] < keys[b]) == descending) {
          const CandidateKey key = keys[a];
          keys[a] = keys[b];
          keys[b] = key;
        }
      }
      __syncthreads();
    }
  }
}

// Shared memory of a block that looks for an edge.
struct SelectRoom {
  float* x;            // [kSampleChunk]
  uint32_t* words;     // [ChunkBins::kWords]
  EdgeRoom* edge;      // [1]
  CandidateKey* keys;  // [kSampleKeys]
};

// The key at which the weight is reached that `edge` wants, among listed[count].
LYNX_DEVICE CandidateKey CutoffInList(const Selection& selection, const SampleEdge& edge,
                                      const CandidateKey* listed, int count,
                                      const SelectRoom& room) {
  int size = 1;
  while (size < count) size *= 2;
  for (int i = static_cast<int>(threadIdx.x); i < size; i += kSampleThreads) {
    room.keys[i] = i < count ? __ldcg(listed + i) : 0;
  }
  __syncthreads();
  SortKeys(room.keys, size);
  const SampleEdge found = FindEdge(
      count, edge.before, [&](int i) { return selection.WeightOf(CandidateLogit(room.keys[i])); },
      [&](Mass) { return edge.wanted; }, room.edge);
  return room.keys[found.bin];
}

}  // namespace lynx::cuda
