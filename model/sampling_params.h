// What a request asks of sampling. The fields act in this order, as vLLM's do:
//   repetition, frequency and presence penalty, logit bias, banned ids -> the adjusted logits (one
//   rounding to float at the end); then temperature, min_p, top_k, top_p, and the choice.
// The defaults are "off", except that temperature 0 means greedy.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "kernels/sampling_inl.h"
#include "runtime/status.h"

namespace lynx {

struct SamplingParams {
  // Logits are divided by it. Below kGreedyTemperature: the largest adjusted logit is taken, and
  // min_p, top_k and top_p have no say. Range [0, 1e6].
  double temperature = 0.0;

  // Keeps the shortest prefix of the tokens, most likely first, whose probability reaches it
  // (model/sampling_filter.h says exactly which); never less than one token. 1: off. Range [0, 1].
  double top_p = 1.0;

  // Keeps so many of the most likely tokens; of equal ones those with the lower ids. 0: off.
  int32_t top_k = 0;

  // Keeps tokens at least min_p times as likely as the most likely one. 0: off. Range [0, 1].
  double min_p = 0.0;

  // Positive logits of tokens in the prompt or the output are divided by it, others multiplied.
  // 1: off. Range [1e-3, 1e3].
  double repetition_penalty = 1.0;

  // Taken off the logits of tokens that are in the output. Range [-2, 2].
  double presence_penalty = 0.0;

  // Taken off a logit once for each time that the token is in the output. Range [-2, 2].
  double frequency_penalty = 0.0;

  // (token id, addend), ascending ids, each once. Addends in [-100, 100].
  std::vector<std::pair<int32_t, double>> logit_bias;

  // Of this choice (DeriveSeed).
  uint64_t seed = 0;

  bool greedy() const { return temperature < kGreedyTemperature; }
  LogitPenalties penalties() const {
    return {repetition_penalty, presence_penalty, frequency_penalty};
  }
  bool penalizes() const { return penalties().any(); }

  // INVALID_ARGUMENT that names the field. Params from outside must pass before they are used.
  absl::Status Validate(int64_t vocab) const;
};

}  // namespace lynx
