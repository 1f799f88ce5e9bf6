#include "gateway/request_plan.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "gateway/api_error.h"
#include "gateway/utf8.h"
#include "model/sampling_noise.h"
#include "runtime/status.h"

namespace lynx {
namespace {

// OpenAI's own default.
constexpr int64_t kCompletionMaxTokensDefault = 16;

absl::Status CheckIds(const std::vector<int32_t>& ids, const TextModel& model, const char* param) {
  for (int32_t id : ids) {
    if (id >= 0 && id < model.vocab_size()) continue;
    return BadField(param, absl::StrCat("`", param, "` holds the token id ", id,
                                        ", which the model does not have."));
  }
  return absl::OkStatus();
}

absl::Status CheckFields(const GenerationFields& fields, const TextModel& model) {
  RETURN_IF_ERROR(CheckIds(fields.stop_token_ids, model, "stop_token_ids"));
  std::vector<int32_t> biased;
  for (const auto& [id, addend] : fields.sampling.logit_bias()) biased.push_back(id);
  return CheckIds(biased, model, "logit_bias");
}

// What a tokenizer refuses is the client's text, whatever code it gives.
absl::StatusOr<std::vector<int32_t>> AsClientError(absl::StatusOr<std::vector<int32_t>> ids,
                                                   const char* param) {
  if (ids.ok() || absl::IsInternal(ids.status())) return ids;
  const absl::string_view message = ids.status().message();
  return BadField(param, {message.data(), message.size()});
}

// The number of tokens to generate for a prompt, or why it cannot be served.
absl::StatusOr<int64_t> Budget(const std::vector<int32_t>& prompt, std::optional<int64_t> wanted,
                               int64_t fallback, int64_t max_context, const char* param) {
  const int64_t length = static_cast<int64_t>(prompt.size());
  if (length == 0) return BadField(param, "The prompt has no tokens.");
  const int64_t left = max_context - length;
  if (left < 1) {
    return BadField(param,
                    absl::StrCat("The prompt has ", length, " tokens; this model's context is ",
                                 max_context, " tokens, prompt and answer together."),
                    "context_length_exceeded");
  }
  const int64_t tokens = wanted.value_or(std::min(fallback, left));
  if (tokens > left) {
    return BadField(
        param,
        absl::StrCat("This model's context is ", max_context, " tokens; the prompt has ", length,
                     " and ", tokens, " are to be generated."),
        "context_length_exceeded");
  }
  return std::max<int64_t>(tokens, 1);  // 0 (echo alone): one is computed and not shown
}

ChoiceOptions ChoiceOptionsOf(const GenerationFields& fields) {
  ChoiceOptions options;
  options.stops = fields.stops;
  options.stop_token_ids = fields.stop_token_ids;
  options.ignore_eos = fields.ignore_eos;
  options.skip_special_tokens = fields.skip_special_tokens;
  options.include_stop_str = fields.include_stop_str_in_output;
  options.min_tokens = fields.min_tokens;
  options.speculative = fields.emission == v1::EMISSION_SPECULATIVE;
  options.discard = fields.max_tokens == 0;
  return options;
}

v1::GenerateRequest BaseRequest(const GenerationFields& fields, const std::vector<int32_t>& prompt,
                                int64_t max_tokens, bool prompt_logprobs) {
  v1::GenerateRequest request;
  request.mutable_prompt()->Assign(prompt.begin(), prompt.end());
  request.set_max_tokens(max_tokens);
  request.set_min_tokens(std::min(fields.min_tokens, max_tokens));
  *request.mutable_sampling() = fields.sampling;
  request.mutable_stop_token_ids()->Assign(fields.stop_token_ids.begin(),
                                           fields.stop_token_ids.end());
  request.set_ignore_eos(fields.ignore_eos);
  request.set_emission(fields.emission);
  request.set_logprobs(fields.logprobs);
  request.set_prompt_logprobs(prompt_logprobs ? fields.logprobs : -1);
  return request;
}

// The seed of a choice depends on its place among the n of its prompt alone, so a prompt's text
// does not depend on the prompts beside it.
void AddChoices(const GenerationFields& fields, const v1::GenerateRequest& base,
                const std::string& request_id, RequestPlan* plan) {
  for (int64_t i = 0; i < fields.n; ++i) {
    v1::GenerateRequest request = base;
    request.mutable_sampling()->set_seed(DeriveSeed(plan->seed, static_cast<uint64_t>(i)));
    request.set_request_id(plan->requests.empty() && fields.n == 1
                               ? request_id
                               : absl::StrCat(request_id, "-", plan->requests.size()));
    plan->requests.push_back(std::move(request));
  }
}

uint64_t SeedOf(const GenerationFields& fields, uint64_t drawn) {
  return fields.seed ? static_cast<uint64_t>(*fields.seed) : drawn;
}

absl::StatusOr<EchoedPrompt> EncodePrompt(const PromptInput& input,
                                          const CompletionRequest& request,
                                          const TextModel& model) {
  EchoedPrompt prompt;
  if (const auto* ids = std::get_if<std::vector<int32_t>>(&input)) {
    RETURN_IF_ERROR(CheckIds(*ids, model, "prompt"));
    prompt.ids = *ids;
    if (request.echo) {
      std::string bytes;
      for (int32_t id : *ids) model.AppendTokenBytes(id, /*skip_special=*/true, &bytes);
      prompt.text = LossyUtf8(bytes);
    }
  } else {
    const std::string& text = std::get<std::string>(input);
    ASSIGN_OR_RETURN(prompt.ids,
                     AsClientError(model.Encode(text, request.add_special_tokens), "prompt"));
    if (request.echo) prompt.text = LossyUtf8(text);
  }
  prompt.text_chars = static_cast<int64_t>(CountCodePoints(prompt.text));
  return prompt;
}

}  // namespace

absl::StatusOr<RequestPlan> PlanCompletion(const CompletionRequest& request, const TextModel& model,
                                           const PlanLimits& limits, const std::string& request_id,
                                           uint64_t drawn_seed) {
  const GenerationFields& fields = request.fields;
  RETURN_IF_ERROR(CheckFields(fields, model));
  RequestPlan plan;
  plan.seed = SeedOf(fields, drawn_seed);
  plan.choice = ChoiceOptionsOf(fields);
  for (const PromptInput& input : request.prompts) {
    ASSIGN_OR_RETURN(EchoedPrompt prompt, EncodePrompt(input, request, model));
    ASSIGN_OR_RETURN(const int64_t max_tokens,
                     Budget(prompt.ids, fields.max_tokens, kCompletionMaxTokensDefault,
                            limits.max_context, "prompt"));
    plan.prompt_tokens += static_cast<int64_t>(prompt.ids.size());
    AddChoices(fields, BaseRequest(fields, prompt.ids, max_tokens, request.echo), request_id,
               &plan);
    plan.prompts.push_back(std::move(prompt));
  }
  return plan;
}

absl::StatusOr<RequestPlan> PlanChat(const ChatRequest& request, const TextModel& model,
                                     const PlanLimits& limits, const std::string& request_id,
                                     uint64_t drawn_seed) {
  const GenerationFields& fields = request.fields;
  RETURN_IF_ERROR(CheckFields(fields, model));
  RequestPlan plan;
  plan.seed = SeedOf(fields, drawn_seed);
  plan.choice = ChoiceOptionsOf(fields);
  EchoedPrompt prompt;
  ASSIGN_OR_RETURN(prompt.ids,
                   AsClientError(model.EncodeChat({request.messages, request.template_kwargs,
                                                   request.add_generation_prompt}),
                                 "messages"));
  ASSIGN_OR_RETURN(const int64_t max_tokens,
                   Budget(prompt.ids, fields.max_tokens, limits.chat_max_tokens_default,
                          limits.max_context, "messages"));
  plan.prompt_tokens = static_cast<int64_t>(prompt.ids.size());
  AddChoices(fields, BaseRequest(fields, prompt.ids, max_tokens, false), request_id, &plan);
  plan.prompts.push_back(std::move(prompt));
  return plan;
}

}  // namespace lynx
