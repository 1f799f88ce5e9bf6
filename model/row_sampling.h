// From the rows of a pass to tokens: the seam behind which logits lie. On the CPU they are sampled
// where they are; on a device they stay there, and a few bytes a row come back.
//
// Thread: the engine thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "model/sampling.h"
#include "model/sampling_logprobs.h"
#include "model/transformer.h"

namespace lynx {

// What one request may ask for, so that its lists fit into memory that is taken at the start.
inline constexpr int64_t kStopIdsMax = 1024;  // beside the model's own
inline constexpr int64_t kLogitBiasesMax = 4096;
inline constexpr int64_t kTopLogprobsLimit = 1000;  // alternatives a token

// Consecutive rows of the last pass, of one sequence. Row i + 1 was computed from drafts[i], so it
// means something only if drafts[i] is what row i samples.
struct SampleChain {
  int64_t first_row = 0;                   // numbered over the pass from 0
  std::span<const int32_t> drafts{};       // [rows - 1]
  const SamplingParams* params = nullptr;  // validated
  TokenCounts* history = nullptr;          // before the first row's token
  int64_t position = 0;                    // of the token behind the first row
  std::span<const int32_t> banned{};       // ids that the first `banned_rows` rows cannot sample;
  int64_t banned_rows = 0;                 // kStopIdsMax and the model's own eos ids at most
  int32_t logprobs = -1;                   // -1: none; k: the token's, and the k most likely ones'
  int64_t rows() const { return static_cast<int64_t>(drafts.size()) + 1; }
};

struct SampledToken {
  SampleResult sample;
  std::optional<Logprobs> logprobs;  // if they were asked for
};

class RowSampler {
 public:
  virtual ~RowSampler() = default;

  // For each chain what its rows sample (model/sampling.h), up to the first token that is not the
  // draft: [1, rows()] tokens, which are pushed to its history. A row's result depends on its
  // logits and its chain alone.
  virtual std::vector<std::vector<SampledToken>> Sample(std::span<const SampleChain> chains) = 0;

  // For each row the log-probabilities of ids[i] and of the `top` most likely tokens
  // (ComputeLogprobs).
  virtual std::vector<Logprobs> LogprobsOf(std::span<const int64_t> rows,
                                           std::span<const int32_t> ids, int64_t top) = 0;
};

// Samples on the host, from Transformer::Logits. The transformer outlives it.
std::unique_ptr<RowSampler> NewHostRowSampler(Transformer& transformer);

// INVALID_ARGUMENT that names the field beyond its limit.
absl::Status CheckSamplingLimits(int64_t stop_ids, int64_t logit_biases, int64_t logprobs,
                                 int64_t prompt_logprobs);

}  // namespace lynx
