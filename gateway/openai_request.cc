#include "gateway/openai_request.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "gateway/openai_fields.h"
#include "gateway/openai_messages.h"
#include "gateway/ordered_fields.h"
#include "runtime/status.h"

namespace lynx {
namespace {

constexpr int64_t kMaxTokens = int64_t{1} << 40;

// A string, a list of strings, a list of ids, or a list of lists of ids.
void ReadPrompts(JsonFields& fields, std::vector<PromptInput>* out) {
  static constexpr char kWanted[] =
      "must be a string, a list of strings, a list of token ids, or a list of such lists.";
  const Json* prompt = fields.Find("prompt");
  if (prompt == nullptr) return fields.Fail("prompt", "is missing.");
  if (prompt->is_string()) {
    out->push_back(prompt->get<std::string>());
    return;
  }
  if (!prompt->is_array()) return fields.Fail("prompt", kWanted);
  if (prompt->empty()) return fields.Fail("prompt", "must not be empty.");
  if (prompt->front().is_number()) {
    std::optional<std::vector<int32_t>> ids = ToIds(*prompt);
    if (!ids) return fields.Fail("prompt", kWanted);
    out->push_back(*std::move(ids));
    return;
  }
  for (const Json& item : *prompt) {
    if (item.is_string()) {
      out->push_back(item.get<std::string>());
      continue;
    }
    std::optional<std::vector<int32_t>> ids = ToIds(item);
    if (!ids) return fields.Fail("prompt", kWanted);
    out->push_back(*std::move(ids));
  }
}

void ReadCompletionLogprobs(JsonFields& fields, const RequestLimits& limits,
                            GenerationFields* out) {
  const Json* logprobs = fields.Find("logprobs");
  if (logprobs != nullptr && logprobs->is_boolean()) {
    out->logprobs = logprobs->get<bool>() ? 0 : -1;
    return;
  }
  std::optional<int64_t> count;
  fields.OptionalInt("logprobs", 0, limits.max_logprobs, &count);
  if (count) out->logprobs = static_cast<int32_t>(*count);
}

void ReadChatLogprobs(JsonFields& fields, const RequestLimits& limits, GenerationFields* out) {
  bool wanted = false;
  std::optional<int64_t> top;
  fields.Bool("logprobs", &wanted);
  fields.OptionalInt("top_logprobs", 0, limits.max_logprobs, &top);
  if (top && *top > 0 && !wanted) fields.Fail("top_logprobs", "needs `logprobs` to be true.");
  if (wanted) out->logprobs = static_cast<int32_t>(top.value_or(0));
}

// What holds between fields, for both endpoints.
void CheckTogether(JsonFields& fields, const GenerationFields& f) {
  if (f.emission == v1::EMISSION_SPECULATIVE && f.logprobs >= 0) {
    // A provisional token's log-probability is not the one of the committed token.
    fields.Fail("logprobs", "is not available with the emission \"speculative\".");
  }
  if (f.max_tokens && f.min_tokens > *f.max_tokens) {
    fields.Fail("min_tokens", "must not be above `max_tokens`.");
  }
}

// What the chat template gets, from the body itself: `fields` has lost the order of keys. Needs
// `messages` to be there.
void ReadTemplateInput(JsonFields& fields, std::string_view body, OrderedJson* messages,
                       OrderedJson* kwargs) {
  if (fields.Find("messages") == nullptr) return fields.Fail("messages", "is missing.");
  if (!fields.status().ok()) return;
  absl::StatusOr<OrderedJson> ordered =
      ParseOrderedFields(body, {"messages", "chat_template_kwargs"});
  if (!ordered.ok()) return fields.Adopt(ordered.status());
  absl::StatusOr<OrderedJson> parsed = ParseMessages(std::move((*ordered)["messages"]));
  if (!parsed.ok()) return fields.Adopt(parsed.status());
  *messages = *std::move(parsed);
  *kwargs = std::move((*ordered)["chat_template_kwargs"]);
  if (kwargs->is_null()) *kwargs = OrderedJson::object();
  if (!kwargs->is_object()) fields.Fail("chat_template_kwargs", "must be an object.");
}

}  // namespace

void ApplyDefaultEmission(v1::Emission emission, GenerationFields* fields) {
  const bool can_take_back = fields->stream && fields->logprobs < 0;
  if (!fields->emission_named && can_take_back) fields->emission = emission;
}

absl::StatusOr<CompletionRequest> ParseCompletionRequest(std::string_view body,
                                                         const RequestLimits& limits) {
  ASSIGN_OR_RETURN(const Json json, ParseRequestBody(body));
  JsonFields fields(json);
  CompletionRequest out;
  ReadGenerationFields(fields, limits, &out.fields);
  ReadPrompts(fields, &out.prompts);
  fields.Bool("echo", &out.echo);
  fields.Bool("add_special_tokens", &out.add_special_tokens);
  // 0 asks for the prompt's log-probabilities alone.
  fields.OptionalInt("max_tokens", out.echo ? 0 : 1, kMaxTokens, &out.fields.max_tokens);
  ReadCompletionLogprobs(fields, limits, &out.fields);
  CheckTogether(fields, out.fields);
  const int64_t choices = static_cast<int64_t>(out.prompts.size()) * out.fields.n;
  if (choices > limits.max_choices) {
    fields.Fail("prompt", absl::StrCat("asks for ", choices, " choices (prompts x n); at most ",
                                       limits.max_choices, " are allowed."));
  }
  RETURN_IF_ERROR(fields.status());
  return out;
}

absl::StatusOr<ChatRequest> ParseChatRequest(std::string_view body, const RequestLimits& limits) {
  ASSIGN_OR_RETURN(const Json json, ParseRequestBody(body));
  JsonFields fields(json);
  ChatRequest out;
  ReadGenerationFields(fields, limits, &out.fields);
  bool echo = false;
  fields.Bool("echo", &echo);
  if (echo) fields.Fail("echo", "is not supported for chat completions.");
  fields.Bool("add_generation_prompt", &out.add_generation_prompt);
  fields.OptionalInt("max_tokens", 1, kMaxTokens, &out.fields.max_tokens);
  fields.OptionalInt("max_completion_tokens", 1, kMaxTokens, &out.fields.max_tokens);
  ReadChatLogprobs(fields, limits, &out.fields);
  CheckTogether(fields, out.fields);
  ReadTemplateInput(fields, body, &out.messages, &out.template_kwargs);
  RETURN_IF_ERROR(fields.status());
  return out;
}

absl::StatusOr<TokenizeRequest> ParseTokenizeRequest(std::string_view body) {
  ASSIGN_OR_RETURN(const Json json, ParseRequestBody(body));
  JsonFields fields(json);
  TokenizeRequest out;
  fields.String("model", &out.model);
  fields.Bool("return_token_strs", &out.return_token_strs);
  fields.Bool("add_special_tokens", &out.add_special_tokens);
  fields.Bool("add_generation_prompt", &out.add_generation_prompt);
  RefuseUnsupported(fields);
  if (fields.Find("messages") != nullptr) {
    if (fields.Find("prompt") != nullptr) fields.Fail("prompt", "excludes `messages`.");
    ReadTemplateInput(fields, body, &out.messages, &out.template_kwargs);
  } else {
    std::string prompt;
    if (fields.Find("prompt") == nullptr) fields.Fail("prompt", "or `messages` is missing.");
    fields.String("prompt", &prompt);
    out.prompt = std::move(prompt);
  }
  RETURN_IF_ERROR(fields.status());
  return out;
}

absl::StatusOr<DetokenizeRequest> ParseDetokenizeRequest(std::string_view body) {
  ASSIGN_OR_RETURN(const Json json, ParseRequestBody(body));
  JsonFields fields(json);
  DetokenizeRequest out;
  fields.String("model", &out.model);
  if (fields.Find("tokens") == nullptr) fields.Fail("tokens", "is missing.");
  fields.Ids("tokens", &out.tokens);
  RETURN_IF_ERROR(fields.status());
  return out;
}

}  // namespace lynx
