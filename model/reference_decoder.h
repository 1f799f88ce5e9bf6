// The reference: plain decoding in one process. Prefill, put the prompt's KV into target pages,
// decode token by token. What every other way of serving a request must equal, bit for bit.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "model/backend.h"
#include "model/kv_sequence.h"
#include "model/sampling.h"
#include "model/sampling_logprobs.h"
#include "runtime/status.h"

namespace lynx {

struct ReferenceRequest {
  std::vector<int32_t> prompt;
  int64_t max_tokens = 16;
  int64_t min_tokens = 0;
  std::vector<int32_t> ending_ids;
  SamplingParams sampling;
  int32_t logprobs = -1;                     // -1 none, k: with the k most likely
  int32_t prompt_logprobs = -1;              // likewise, for every prompt token but the first
  std::function<void(int32_t id)> on_token;  // called as each token is known; may be null
};

struct ReferenceResult {
  std::vector<int32_t> tokens;
  std::vector<Logprobs> logprobs;         // [tokens], if asked for
  std::vector<Logprobs> prompt_logprobs;  // [prompt - 1], if asked for
};

// `code_free`: the prompt's KV is left in the BF16 pages that the prefill wrote, so that no code
// has a part in it; the bf16 target must equal this. `transformer` is the backend's.
// INVALID_ARGUMENT: an empty prompt.
absl::StatusOr<ReferenceResult> DecodeReference(const ReferenceRequest& request,
                                                const KvGeometry& geometry, bool code_free,
                                                Transformer& transformer, Backend& backend);

}  // namespace lynx
