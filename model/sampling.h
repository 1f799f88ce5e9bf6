// Choosing a token from logits: Gumbel-max with counter-based noise.
//
// The token chosen is the one with the largest score
//   x[id] * (1 / T) + noise(seed, position, id),
// the lower id among equals, over the candidates that the filters leave (sampling_filter.h); x are
// the adjusted logits (sampling_params.h), scores are doubles. This depends on the row's logits,
// parameters, own history and position and on nothing else: not on other rows, drafts, or how often
// it is asked. Greedy: the largest x, no noise.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/sampling_filter.h"
#include "model/sampling_history.h"
#include "model/sampling_noise.h"
#include "model/sampling_params.h"

namespace lynx {

struct SampleResult {
  int32_t id = 0;

  // The best score minus the second best: how near another token was. Infinity if there was no
  // other candidate.
  double margin = 0.0;

  // A logit was NaN or +infinity, or no token was left to choose. Such logits count as -infinity;
  // if nothing is left, id is the lowest id that is not banned (0 if all are). A server fails the
  // request: its model or kernels are broken.
  bool invalid_logits = false;
};

// Holds memory that it reuses: one for each engine thread.
class Sampler {
 public:
  // logits: [vocab], unchanged. params must have passed Validate(vocab). `history` is the prompt
  // and the output before this token, the row's own path of drafts included; ids outside the
  // vocabulary have no effect. `position` is the absolute position of the token to be chosen
  // (prompt length + its index). `banned` ids cannot be chosen (end-of-text before min_tokens).
  SampleResult Sample(const float* logits, int64_t vocab, const SamplingParams& params,
                      const TokenCounts& history, int64_t position,
                      std::span<const int32_t> banned = {});

 private:
  // The adjusted logits: `logits` itself, or adjusted_.
  const float* Adjust(const float* logits, int64_t vocab, const SamplingParams& params,
                      const TokenCounts& history, std::span<const int32_t> banned);
  // Fills candidates_ with what the filters leave; returns true if invalid logits were seen.
  bool Filter(const float* x, int64_t vocab, const SamplingParams& params);
  // Filter for top_p alone; `max` is the largest finite logit.
  void FilterTopP(const float* x, int64_t vocab, const SamplingParams& params, float max);

  std::vector<float> adjusted_;           // [vocab]
  std::vector<CandidateKey> candidates_;  // what the filters left
  TopPFilter top_p_;
};

}  // namespace lynx
