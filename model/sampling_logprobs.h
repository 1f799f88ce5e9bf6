// Log-probabilities as clients see them: the natural logarithm of the softmax of the raw logits,
// before penalties, temperature and filters.
#pragma once

#include <cstdint>
#include <vector>

namespace lynx {

struct TokenLogprob {
  int32_t id = 0;
  double logprob = 0.0;
};

struct Logprobs {
  double logprob = 0.0;           // of the token asked for
  std::vector<TokenLogprob> top;  // most likely first, the lower id among equals
};

// logits: [vocab]; 0 <= id < vocab; the top k (fewer if fewer are finite). In double and in a fixed
// order of summation (kernels/sampling_inl.h), so the same logits give the same doubles on every
// backend; a token in `top` has the double that it has as `id`. NaN and infinities count as
// -infinity. Any thread.
Logprobs ComputeLogprobs(const float* logits, int64_t vocab, int32_t id, int64_t k);

}  // namespace lynx
