// A kernel of the kind that the project's are, small, with faults to choose: what the emulation
// finds is shown on it. Decoding attention over pages of 8-bit codes, split over the sequence:
// 2-stage cp.async, codes to bf16, ldmatrix, mma, online softmax, a second kernel that merges the
// splits.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace lynx::testing {

inline constexpr int kHeadDim = 64;
inline constexpr int kPage = 64;  // tokens
inline constexpr int kHeads = 4;  // query heads, all of one KV head

// Codes of K and of V, [token, channel], then the channels' scales of K and of V.
inline constexpr int kCodeBytes = kPage * kHeadDim;
inline constexpr int kScaleBytes = kHeadDim * 4;
inline constexpr int kPageBytes = 2 * kCodeBytes + 2 * kScaleBytes;
inline constexpr int kCodeZero = 128;  // value = (code - kCodeZero) * scale, rounded to bf16

enum class Fault : int {
  kNone,
  kNoBarrierBeforeMma,
  kNoBarrierAfterWait,
  kFragmentSwapped,
  kWeakWait,
  kRowPastEnd,
  kMaskOffByOne,
  kInfMinusInf,
  kOthersSlot,
  kUnwrittenElement,
  kDivergentShuffle,
  kTableOffByOne,
  kNoBarrierBeforeMerge,
  kBankConflicts,
  kMisaligned,
  kOneStage,
  kCount,
};

struct FlashDecodeParams {
  const uint16_t* q = nullptr;     // bf16 [sequence, kHeads, kHeadDim]
  const uint8_t* pages = nullptr;  // [page, kPageBytes]
  const int* table = nullptr;      // [sequence, max_pages]: the pages of each
  const int* lengths = nullptr;    // [sequence], in tokens
  float* part_out = nullptr;       // [sequence, kHeads, split, kHeadDim]
  float* part_stats = nullptr;     // [sequence, kHeads, split, 2]: maximum and sum
  float* out = nullptr;            // [sequence, kHeads, kHeadDim]
  int sequences = 0;
  int max_pages = 0;
  int splits = 0;
  float scale = 0;  // of scores, times log2(e)
  Fault fault = Fault::kNone;
};
cudaError_t FlashDecode(const FlashDecodeParams& params, cudaStream_t stream);

}  // namespace lynx::testing
