// Choosing a step's tokens on the device: for the same logits, parameters, history and position the
// same token, margin and flag, bit for bit, as lynx::Sampler (model/sampling.h), which is the
// specification. A row depends on nothing but itself.
//
// A row is cut into chunks of kSampleChunk logits, a block each; the last block of a row to finish
// puts the chunks' results together. At most six launches, each over all rows:
//   scan    the best two candidates; rows without filters are done with it, greedy or drawn
//   top_k   (2) the chunks' logits are counted in kSampleBins steps of distance from the best,
//   which
//           gives the step that holds the k-th candidate; its candidates are gathered and sorted
//   top_p   (2) the same with masses (integers: any order of summation gives the same) for counts
//   draw    Gumbel-max over the candidates that the filters left: all above one key
// A step with too many candidates to sort is cut into finer ones by one block alone: right, slower.
// Penalties, biases and bans are applied to a chunk in shared memory each time that it is read.
//
// Each launch reads 4 bytes a logit (for rows with filters six times in all, of which five come
// from L2 while the rows fit it) and some FLOPs in double: 2 a logit in the scan, 4 for counts, 32
// for masses; 1 and some 30 integer operations for noise, whose two logarithms are computed for one
// logit in sixteen and for those that may win. Scratch is SampleScratchBytes.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace lynx::cuda {

// A token that a row has seen, in its prompt or its output. Each once.
struct SeenToken {
  int32_t id = 0;
  int32_t output_count = 0;  // times in the output; 0: in the prompt alone
};

struct LogitBias {
  double addend = 0;
  int32_t id = 0;
};

// What SamplingParams, TokenCounts, position and bans are to Sampler::Sample, with the same ranges
// and defaults. Lists are device memory; ids outside the vocabulary have no effect.
struct SampleRow {
  double temperature = 0;
  double top_p = 1;
  double min_p = 0;
  double repetition_penalty = 1;
  double presence_penalty = 0;
  double frequency_penalty = 0;
  uint64_t seed = 0;
  int64_t position = 0;
  const SeenToken* seen = nullptr;  // [seen_count], ascending ids; read if there are penalties
  // [path_count], any order: output that `seen` does not count, drafts before this row. So the rows
  // of a sequence share one list.
  const int32_t* path = nullptr;
  const LogitBias* biases = nullptr;  // [bias_count], ascending ids, each once
  const int32_t* banned = nullptr;    // [banned_count], any order
  int32_t seen_count = 0;
  int32_t path_count = 0;
  int32_t bias_count = 0;
  int32_t banned_count = 0;
  int32_t top_k = 0;
};

struct SampleParams {
  const float* logits = nullptr;        // [rows, vocab]
  const SampleRow* requests = nullptr;  // [rows]
  int32_t* ids = nullptr;               // [rows], the tokens chosen
  double* margins = nullptr;            // [rows], SampleResult::margin
  uint8_t* invalid = nullptr;           // [rows], SampleResult::invalid_logits, 0 or 1
  void* scratch = nullptr;              // SampleScratchBytes(rows, vocab), aligned to 256; its
                                        // contents do not matter, before or after
  int64_t rows = 0;                     // 65,535 at most
  int64_t vocab = 0;                    // kMaxSamplingVocab at most
  // Launches to leave out: false only if no row has a top_k from 1 to vocab - 1, a top_p below 1,
  // or a min_p above 0 (greedy rows have none of them).
  bool any_top_k = true;
  bool any_top_p = true;
  bool any_min_p = true;
};

size_t SampleScratchBytes(int64_t rows, int64_t vocab);

// cudaErrorInvalidValue for rows or a vocabulary out of range. Requests must be valid
// (SamplingParams::Validate): they are not checked here.
cudaError_t Sample(const SampleParams& params, cudaStream_t stream);

}  // namespace lynx::cuda
