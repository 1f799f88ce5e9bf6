// The best two of a chunk: by logit, and by logit and noise.
#pragma once

#include "kernels/cuda/sample_block.cuh"
#include "kernels/cuda/sample_row.cuh"

namespace lynx::cuda {

LYNX_DEVICE ScanResult EmptyScan() { return {0, 0, ~CandidateKey{0}, 0}; }

struct CombineScans {
  LYNX_DEVICE ScanResult operator()(const ScanResult& a, const ScanResult& b) const {
    return {max(a.best, b.best), max(min(a.best, b.best), max(a.second, b.second)),
            min(a.lowest, b.lowest), a.invalid | b.invalid};
  }
};

// This thread's part.
LYNX_DEVICE ScanResult ScanChunk(const float* x, const ChunkPlace& place) {
  ScanResult result = EmptyScan();
  for (int i = static_cast<int>(threadIdx.x); i < place.count; i += kSampleThreads) {
    if (IsFiniteLogit(x[i])) {
      const CandidateKey key = MakeCandidate(x[i], place.Id(i));
      result = CombineScans()(result, {key, 0, key, 0});
    } else {
      result.invalid |= IsInvalidLogit(x[i]) ? 1 : 0;
    }
  }
  return result;
}

LYNX_DEVICE DrawResult EmptyDraw() {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  return {-kInfinity, -kInfinity, std::numeric_limits<int32_t>::max(), 0};
}

// The lower id among equals.
struct CombineDraws {
  LYNX_DEVICE DrawResult operator()(const DrawResult& a, const DrawResult& b) const {
    const bool a_first = a.best > b.best || (a.best == b.best && a.id < b.id);
    // Values, not references: a choice between addresses would put both on the stack.
    return {a_first ? a.best : b.best, a_first ? max(b.best, a.second) : max(a.best, b.second),
            a_first ? a.id : b.id, a.invalid | b.invalid};
  }
};

struct Drawing {
  double inverse_t;
  GumbelNoise noise;

  LYNX_DEVICE explicit Drawing(const SampleRow& row)
      : inverse_t(1.0 / row.temperature), noise(row.seed, row.position) {}

  LYNX_DEVICE double UpperBound(float x, int32_t id) const {
    return x * inverse_t + GumbelNoise::UpperBound(noise.Bits(id));
  }
  LYNX_DEVICE DrawResult Score(float x, int32_t id) const {
    const double score = x * inverse_t + GumbelNoise::Value(noise.Bits(id));
    return {score, -std::numeric_limits<double>::infinity(), id, 0};
  }
};

// The chunk's best two of those that `takes` takes; the same for every thread. Noise is computed
// for each thread's most hopeful logit; the second best score so far then leaves few others in the
// running.
template <class Takes>
LYNX_DEVICE DrawResult DrawChunk(const Drawing& drawing, const float* x, const ChunkPlace& place,
                                 Takes takes, DrawResult* room) {
  constexpr int kEach = kSampleChunk / kSampleThreads;
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  double bounds[kEach];
  double highest = -kInfinity;
  int hopeful = 0;
#pragma unroll
  for (int e = 0; e < kEach; ++e) {
    const int i = static_cast<int>(threadIdx.x) + e * kSampleThreads;
    const bool taken = i < place.count && takes(x[i], place.Id(i));
    bounds[e] = taken ? drawing.UpperBound(x[i], place.Id(i)) : -kInfinity;
    if (bounds[e] > highest) {
      highest = bounds[e];
      hopeful = i;
    }
  }
  DrawResult own = EmptyDraw();
  if (highest > -kInfinity) own = drawing.Score(x[hopeful], place.Id(hopeful));
  const double second = ReduceOverBlock(own, room, CombineDraws()).second;
#pragma unroll
  for (int e = 0; e < kEach; ++e) {
    const int i = static_cast<int>(threadIdx.x) + e * kSampleThreads;
    // Rounding is monotonic: a bound of the noise bounds the rounded score too.
    if (bounds[e] > -kInfinity && bounds[e] >= second && i != hopeful) {
      own = CombineDraws()(own, drawing.Score(x[i], place.Id(i)));
    }
  }
  return ReduceOverBlock(own, room, CombineDraws());
}

}  // namespace lynx::cuda
