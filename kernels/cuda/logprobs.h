// Log-probabilities on the device: for the same logits the same doubles, bit for bit, as
// lynx::ComputeLogprobs (model/sampling_logprobs.h), which is the specification. A row depends on
// nothing but itself.
//
// A row is cut into chunks of kLogprobChunk logits, a block each. Three launches over all rows: the
// chunks' largest logits, their sums of exponentials, both put together. Where the most likely
// tokens are wanted, two more for as many rows at a time as the scratch has room for: each chunk
// sorts its own, then one block a row merges the chunks' lists.
//
// Read are 8 bytes a logit, 12 with the most likely tokens; the exponentials are some 25 FLOPs in
// double each.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace lynx::cuda {

inline constexpr int32_t kTopLogprobsMax = 1024;  // of a row

// What is wanted of a row.
struct LogprobRow {
  int32_t id = -1;        // whose log-probability; -1: LogprobParams::ids[row]
  int32_t top = -1;       // -1: nothing; else the so many most likely tokens too
  int32_t top_begin = 0;  // where they go in LogprobParams::top
};

struct TopLogprobEntry {
  double logprob;
  int32_t id;
  int32_t unused;
};

// Rows of which nothing is wanted have no results.
struct LogprobParams {
  const float* logits = nullptr;         // [rows, vocab]
  const LogprobRow* requests = nullptr;  // [rows]
  const int32_t* ids = nullptr;          // [rows]; read where a request names none
  double* logprobs = nullptr;            // [rows], Logprobs::logprob
  int32_t* top_counts = nullptr;         // [rows]: fewer than `top` if fewer logits are finite
  TopLogprobEntry* top = nullptr;        // Logprobs::top of the rows that want them
  void* scratch = nullptr;               // LogprobScratchBytes(rows, vocab), aligned to 256; its
                                         // contents do not matter, before or after
  int64_t rows = 0;                      // 65,535 at most
  int64_t vocab = 0;                     // kMaxSamplingVocab at most
  int32_t top_max = 0;                   // the largest `top`, kTopLogprobsMax at most
};

size_t LogprobScratchBytes(int64_t rows, int64_t vocab);

// cudaErrorInvalidValue for rows, a vocabulary or top_max out of range.
cudaError_t RowLogprobs(const LogprobParams& params, cudaStream_t stream);

}  // namespace lynx::cuda
