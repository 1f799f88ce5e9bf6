// From a parsed request to the calls that serve it: prompts encoded, limits applied, seeds derived.
// No I/O.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "gateway/openai_request.h"
#include "gateway/openai_response.h"
#include "gateway/text_model.h"

namespace lynx {

struct PlanLimits {
  int64_t max_context = 0;              // prompt and generated tokens together
  int64_t chat_max_tokens_default = 0;  // see GatewayOptions
};

struct RequestPlan {
  std::vector<EchoedPrompt> prompts;          // text only if it is to be echoed
  std::vector<v1::GenerateRequest> requests;  // choice c belongs to prompts[c / n]
  ChoiceOptions choice;
  uint64_t seed = 0;
  int64_t prompt_tokens = 0;  // over all prompts
};

// `drawn_seed` is used if the request names none.
absl::StatusOr<RequestPlan> PlanCompletion(const CompletionRequest& request, const TextModel& model,
                                           const PlanLimits& limits, const std::string& request_id,
                                           uint64_t drawn_seed);
absl::StatusOr<RequestPlan> PlanChat(const ChatRequest& request, const TextModel& model,
                                     const PlanLimits& limits, const std::string& request_id,
                                     uint64_t drawn_seed);

}  // namespace lynx
