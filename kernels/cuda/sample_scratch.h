// What the launches of Sample leave to each other, on the device.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/sample.h"
#include "kernels/sampling_inl.h"

namespace lynx::cuda {

inline constexpr int kSampleThreads = 256;
inline constexpr int kSampleChunk = 4096;  // logits of a block: more would leave SMs idle
inline constexpr int kSampleBins = 1024;   // steps of distance from the best candidate
inline constexpr int kSampleKeys = 2048;   // of one step that are sorted in shared memory

enum SampleStage : int { kTopKStage, kTopPStage, kSampleStages };

// Where a prefix of the candidates ends that has the weight wanted.
struct SampleEdge {
  Mass wanted;    // MassReached's; not 0, so that a prefix has at least one token
  Mass before;    // weight of the steps before `bin`
  int32_t found;  // 0: all candidates weigh too little, or the row does not have this filter
  int32_t bin;
};

// Sums of the lower 32 bits of weights and of the rest.
struct SampleBin {
  unsigned long long low;
  unsigned long long high;
};

// One row's; all zero before the scan.
struct SampleState {
  SampleEdge edges[kSampleStages];
  CandidateKey best;  // 0 also where the scan has finished the row
  CandidateKey lowest;
  CandidateKey cutoff;  // the filters' candidates have keys from here on
  uint32_t listed[kSampleStages];
  uint32_t scanned, counted[kSampleStages], gathered[kSampleStages], drawn;  // blocks
  uint32_t invalid;
};

struct ScanResult {
  CandidateKey best;
  CandidateKey second;
  CandidateKey lowest;
  uint64_t invalid;
};

struct DrawResult {
  double best;
  double second;
  int32_t id;
  uint32_t invalid;
};

struct SampleScratch {
  SampleState* states = nullptr;  // [rows]
  SampleBin* bins = nullptr;      // [rows, kSampleStages, kSampleBins]
  ScanResult* scans = nullptr;    // [rows, chunks]
  DrawResult* draws = nullptr;    // [rows, chunks]
  CandidateKey* keys = nullptr;   // [rows, kSampleStages, kSampleKeys]
};

}  // namespace lynx::cuda
