// OpenAI-style requests, parsed and checked as far as that needs no model. No I/O.
//
// Rules: unknown fields are ignored and an explicit null is an absent field. A field that is known,
// not supported and would change the text is an error that names it; nothing of that kind is
// ignored.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "gateway/json_fields.h"
#include "proto/lynx.pb.h"

namespace lynx {

// What bounds a request independently of the model.
struct RequestLimits {
  int64_t max_choices = 128;      // prompts x n: each is a call to a decode server
  int64_t max_logprobs = 20;      // alternatives a token
  int64_t max_stops = 64;         // stop strings
  int64_t max_stop_bytes = 1024;  // each
  // What servers take (model/row_sampling.h).
  int64_t max_stop_ids = 1024;
  int64_t max_logit_biases = 4096;
};

// The fields that completions and chat share.
struct GenerationFields {
  std::string model;  // empty: not named
  bool stream = false;
  bool include_usage = false;           // stream_options
  bool continuous_usage_stats = false;  // stream_options
  std::optional<int64_t> max_tokens;    // absent: the endpoint's default
  int64_t min_tokens = 0;
  int64_t n = 1;
  v1::Sampling sampling;        // all but the seed
  std::optional<int64_t> seed;  // absent: drawn
  std::vector<std::string> stops;
  std::vector<int32_t> stop_token_ids;
  bool ignore_eos = false;
  bool skip_special_tokens = true;
  bool include_stop_str_in_output = false;
  bool return_token_ids = false;
  bool return_tokens_as_token_ids = false;
  int32_t logprobs = -1;  // -1: none; k: the sampled token's and the k most likely ones'
  v1::Emission emission = v1::EMISSION_VERIFIED;
  bool emission_named = false;  // the request said it
  bool stats = false;
};

using PromptInput = std::variant<std::string, std::vector<int32_t>>;

struct CompletionRequest {
  GenerationFields fields;
  std::vector<PromptInput> prompts;  // at least one
  bool echo = false;
  bool add_special_tokens = true;  // for text prompts
};

struct ChatRequest {
  GenerationFields fields;
  OrderedJson messages;         // as ParseMessages gives them
  OrderedJson template_kwargs;  // an object
  bool add_generation_prompt = true;
};

struct TokenizeRequest {
  std::string model;
  std::optional<std::string> prompt;  // else messages
  OrderedJson messages;
  OrderedJson template_kwargs;
  bool add_generation_prompt = true;
  bool add_special_tokens = true;
  bool return_token_strs = false;
};

struct DetokenizeRequest {
  std::string model;
  std::vector<int32_t> tokens;
};

// Gives a request that names no emission the server's own, unless it is one that the request's
// other fields exclude: only a stream without log-probabilities can take tokens back.
void ApplyDefaultEmission(v1::Emission emission, GenerationFields* fields);

absl::StatusOr<CompletionRequest> ParseCompletionRequest(std::string_view body,
                                                         const RequestLimits& limits);
absl::StatusOr<ChatRequest> ParseChatRequest(std::string_view body, const RequestLimits& limits);
absl::StatusOr<TokenizeRequest> ParseTokenizeRequest(std::string_view body);
absl::StatusOr<DetokenizeRequest> ParseDetokenizeRequest(std::string_view body);

}  // namespace lynx
