// What a prefill server may say of one run, in all: what follows from the request. The engine's
// mail is bounded by it, and whoever exceeds it is broken or hostile.
//
// Not thread-safe.
#pragma once

#include <cstdint>

#include "model/kv_sequence.h"
#include "proto/lynx.pb.h"
#include "runtime/status.h"

namespace lynx::decode {

class RunAllowance {
 public:
  RunAllowance(const v1::RunRequest& run, const KvGeometry& geometry);

  // Counts the message. INVALID_ARGUMENT: it is more than the run can have; says what.
  absl::Status Take(const v1::PrefillToDecode& message);
  // The prefill was told "not yet": it will ask once more.
  void AllowReady() { ++readies_; }

 private:
  absl::Status TakeLogprobs(const v1::PromptLogprobs& logprobs);

  const int64_t top_of_token_;         // alternatives of the first token
  const int64_t top_of_prompt_token_;  // of each prompt token
  int64_t readies_ = 1;
  int64_t raw_pages_;
  int64_t prompt_logprobs_;  // tokens
  int64_t first_tokens_ = 1;
  int64_t all_sents_ = 1;
};

}  // namespace lynx::decode
