#include "gateway/openai_fields.h"

#include <iterator>
#include <limits>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "runtime/status.h"

namespace lynx {
namespace {

constexpr int64_t kMaxId = std::numeric_limits<int32_t>::max();
constexpr int64_t kMaxTokens = int64_t{1} << 40;

void ReadLogitBias(JsonFields& fields, const RequestLimits& limits, v1::Sampling* out) {
  const Json* bias = fields.Find("logit_bias");
  if (bias == nullptr) return;
  if (!bias->is_object()) return fields.Fail("logit_bias", "must map token ids to numbers.");
  if (static_cast<int64_t>(bias->size()) > limits.max_logit_biases) {
    return fields.Fail("logit_bias",
                       absl::StrCat("may hold at most ", limits.max_logit_biases, " tokens."));
  }
  for (const auto& [key, value] : bias->items()) {
    int32_t id = 0;
    if (!absl::SimpleAtoi(key, &id) || id < 0 || !value.is_number()) {
      return fields.Fail("logit_bias", "must map token ids to numbers.");
    }
    const double addend = value.get<double>();
    if (!(addend >= -100 && addend <= 100)) {
      return fields.Fail("logit_bias", "must hold numbers between -100 and 100.");
    }
    (*out->mutable_logit_bias())[id] = addend;
  }
}

void ReadSampling(JsonFields& fields, const RequestLimits& limits, v1::Sampling* out) {
  double temperature = 1, top_p = 1, min_p = 0, repetition = 1, presence = 0, frequency = 0;
  int64_t top_k = 0;
  fields.Number("temperature", 0, 2, &temperature);
  fields.Number("top_p", 0, 1, &top_p);
  fields.Number("min_p", 0, 1, &min_p);
  fields.Number("repetition_penalty", 1e-3, 1e3, &repetition);
  fields.Number("presence_penalty", -2, 2, &presence);
  fields.Number("frequency_penalty", -2, 2, &frequency);
  fields.Int("top_k", -1, kMaxId, &top_k);
  if (top_p == 0) fields.Fail("top_p", "must be above 0.");
  out->set_temperature(temperature);
  out->set_top_p(top_p);
  out->set_min_p(min_p);
  out->set_repetition_penalty(repetition);
  out->set_presence_penalty(presence);
  out->set_frequency_penalty(frequency);
  out->set_top_k(static_cast<int32_t>(top_k < 0 ? 0 : top_k));  // -1 and 0 both mean off
  ReadLogitBias(fields, limits, out);
}

void ReadStops(JsonFields& fields, const RequestLimits& limits, std::vector<std::string>* out) {
  const Json* stop = fields.Find("stop");
  if (stop == nullptr) return;
  const Json list = stop->is_string() ? Json::array({*stop}) : *stop;
  if (!list.is_array()) return fields.Fail("stop", "must be a string or a list of strings.");
  if (static_cast<int64_t>(list.size()) > limits.max_stops) {
    return fields.Fail("stop", absl::StrCat("may hold at most ", limits.max_stops, " strings."));
  }
  for (const Json& item : list) {
    if (!item.is_string()) return fields.Fail("stop", "must be a string or a list of strings.");
    const std::string& text = item.get_ref<const std::string&>();
    if (text.empty() || static_cast<int64_t>(text.size()) > limits.max_stop_bytes) {
      return fields.Fail(
          "stop", absl::StrCat("must hold strings of 1 to ", limits.max_stop_bytes, " bytes."));
    }
    out->push_back(text);
  }
}

void ReadStreamOptions(JsonFields& fields, GenerationFields* out) {
  const Json* options = fields.Find("stream_options");
  if (options == nullptr) return;
  if (!out->stream) return fields.Fail("stream_options", "needs `stream` to be true.");
  if (!options->is_object()) return fields.Fail("stream_options", "must be an object.");
  JsonFields inner(*options, "stream_options.");
  inner.Bool("include_usage", &out->include_usage);
  inner.Bool("continuous_usage_stats", &out->continuous_usage_stats);
  fields.Adopt(inner.status());
}

void ReadExtension(JsonFields& fields, GenerationFields* out) {
  const Json* extension = fields.Find("lynx");
  if (extension == nullptr) return;
  if (!extension->is_object()) return fields.Fail("lynx", "must be an object.");
  JsonFields inner(*extension, "lynx.");
  std::string emission = "verified";
  out->emission_named = inner.Find("emission") != nullptr;
  inner.String("emission", &emission);
  inner.Bool("stats", &out->stats);
  if (emission == "speculative") {
    out->emission = v1::EMISSION_SPECULATIVE;
    if (!out->stream) inner.Fail("emission", "\"speculative\" needs `stream` to be true.");
  } else if (emission == "confident") {
    inner.Fail("emission", "\"confident\" is not supported yet.");
  } else if (emission != "verified") {
    inner.Fail("emission", "must be \"verified\" or \"speculative\".");
  }
  fields.Adopt(inner.status());
}

bool IsEmptyValue(const Json& value) {
  if (value.is_string()) return value.get_ref<const std::string&>().empty();
  return value.is_null() || value == false || (value.is_structured() && value.empty());
}

}  // namespace

void ReadGenerationFields(JsonFields& fields, const RequestLimits& limits, GenerationFields* out) {
  RefuseUnsupported(fields);
  fields.String("model", &out->model);
  fields.Bool("stream", &out->stream);
  ReadStreamOptions(fields, out);
  fields.Int("min_tokens", 0, kMaxTokens, &out->min_tokens);
  fields.Int("n", 1, limits.max_choices, &out->n);
  std::optional<int64_t> best_of;
  fields.OptionalInt("best_of", 1, limits.max_choices, &best_of);
  if (best_of && *best_of != out->n) fields.Fail("best_of", "must be equal to `n`.");
  fields.OptionalInt("seed", std::numeric_limits<int64_t>::min(),
                     std::numeric_limits<int64_t>::max(), &out->seed);
  ReadSampling(fields, limits, &out->sampling);
  ReadStops(fields, limits, &out->stops);
  fields.Ids("stop_token_ids", &out->stop_token_ids);
  if (std::ssize(out->stop_token_ids) > limits.max_stop_ids) {
    fields.Fail("stop_token_ids", absl::StrCat("may hold at most ", limits.max_stop_ids, " ids."));
  }
  fields.Bool("ignore_eos", &out->ignore_eos);
  fields.Bool("skip_special_tokens", &out->skip_special_tokens);
  fields.Bool("include_stop_str_in_output", &out->include_stop_str_in_output);
  fields.Bool("return_token_ids", &out->return_token_ids);
  fields.Bool("return_tokens_as_token_ids", &out->return_tokens_as_token_ids);
  ReadExtension(fields, out);
}

void RefuseUnsupported(JsonFields& fields) {
  // Absent, null, false and empty values mean "off" for all of these.
  static constexpr const char* kUnsupported[] = {"tools",
                                                 "functions",
                                                 "function_call",
                                                 "guided_json",
                                                 "guided_regex",
                                                 "guided_choice",
                                                 "guided_grammar",
                                                 "guided_decoding_backend",
                                                 "structured_outputs",
                                                 "grammar",
                                                 "json_schema",
                                                 "suffix",
                                                 "use_beam_search",
                                                 "bad_words",
                                                 "allowed_token_ids",
                                                 "logits_processors",
                                                 "truncate_prompt_tokens",
                                                 "prompt_embeds",
                                                 "prompt_logprobs",
                                                 "audio",
                                                 "documents",
                                                 "chat_template",
                                                 "continue_final_message",
                                                 "reasoning_effort",
                                                 "verbosity",
                                                 "web_search_options",
                                                 "mm_processor_kwargs"};
  for (const char* name : kUnsupported) {
    const Json* value = fields.Find(name);
    if (value != nullptr && !IsEmptyValue(*value)) fields.Fail(name, "is not supported.");
  }
  const Json* choice = fields.Find("tool_choice");
  if (choice != nullptr && *choice != "none" && *choice != "auto") {
    fields.Fail("tool_choice", "is not supported.");
  }
  const Json* format = fields.Find("response_format");
  if (format != nullptr && !(format->is_object() && format->value("type", Json()) == "text")) {
    fields.Fail("response_format", "is supported with the type \"text\" only.");
  }
  const Json* modalities = fields.Find("modalities");
  if (modalities != nullptr && *modalities != Json::array({"text"})) {
    fields.Fail("modalities", "is supported as [\"text\"] only.");
  }
}

}  // namespace lynx
