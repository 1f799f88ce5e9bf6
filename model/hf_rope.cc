#include "model/hf_rope.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "model/quoted.h"

namespace lynx {

namespace {

using nlohmann::json;

// The object that holds the scaling, or null.
absl::StatusOr<const json*> FindScaling(const JsonFields& fields) {
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    const json* value = fields.Find(key);
    if (value == nullptr) continue;
    if (!value->is_object())
      return absl::InvalidArgumentError(absl::StrCat("'", key, "' is no object"));
    return value;
  }
  return static_cast<const json*>(nullptr);
}

absl::StatusOr<std::string> ScalingType(const JsonFields& scaling) {
  ASSIGN_OR_RETURN(std::string old, scaling.StringOr("type", "default"));
  return scaling.StringOr("rope_type", old);
}

// `factor` times the context, within what ValidateModelConfig can judge.
int64_t ScaledContext(int64_t context, double factor) {
  const double scaled = static_cast<double>(context) * factor;
  return std::isfinite(scaled) && scaled > 0 && scaled < 1e15 ? static_cast<int64_t>(scaled) : -1;
}

absl::Status ReadLinear(const JsonFields& scaling, ModelConfig* config) {
  config->rope.scaling = RopeScaling::kLinear;
  ASSIGN_OR_RETURN(config->rope.factor, scaling.Float("factor"));
  config->max_context = ScaledContext(config->max_context, config->rope.factor);
  return absl::OkStatus();
}

absl::Status ReadLlama3(const JsonFields& scaling, ModelConfig* config) {
  RopeConfig& rope = config->rope;
  rope.scaling = RopeScaling::kLlama3;
  ASSIGN_OR_RETURN(rope.factor, scaling.Float("factor"));
  ASSIGN_OR_RETURN(rope.low_freq_factor, scaling.Float("low_freq_factor"));
  ASSIGN_OR_RETURN(rope.high_freq_factor, scaling.Float("high_freq_factor"));
  ASSIGN_OR_RETURN(rope.original_context, scaling.Int("original_max_position_embeddings"));
  return absl::OkStatus();
}

absl::Status ReadYarn(const JsonFields& scaling, ModelConfig* config) {
  RopeConfig& rope = config->rope;
  rope.scaling = RopeScaling::kYarn;
  ASSIGN_OR_RETURN(rope.factor, scaling.Float("factor"));
  ASSIGN_OR_RETURN(rope.original_context,
                   scaling.IntOr("original_max_position_embeddings", config->max_context));
  ASSIGN_OR_RETURN(rope.beta_fast, scaling.FloatOr("beta_fast", 32.0));
  ASSIGN_OR_RETURN(rope.beta_slow, scaling.FloatOr("beta_slow", 1.0));
  ASSIGN_OR_RETURN(rope.attention_factor, scaling.FloatOr("attention_factor", 0.0));
  ASSIGN_OR_RETURN(bool truncate, scaling.BoolOr("truncate", true));
  if (!truncate || scaling.Find("mscale") != nullptr || scaling.Find("mscale_all_dim") != nullptr) {
    return absl::UnimplementedError(
        "RoPE scaling 'yarn' with mscale, mscale_all_dim or without truncate is not supported");
  }
  const int64_t scaled = ScaledContext(rope.original_context, rope.factor);
  config->max_context = scaled < 0 ? scaled : std::max(config->max_context, scaled);
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadHfRope(const JsonFields& fields, ModelConfig* config) {
  ASSIGN_OR_RETURN(config->rope.theta, fields.FloatOr("rope_theta", 10000.0));
  ASSIGN_OR_RETURN(double rotated, fields.FloatOr("partial_rotary_factor", 1.0));
  ASSIGN_OR_RETURN(const json* object, FindScaling(fields));
  std::string type = "default";
  if (object != nullptr) {
    JsonFields scaling(*object);
    ASSIGN_OR_RETURN(config->rope.theta, scaling.FloatOr("rope_theta", config->rope.theta));
    ASSIGN_OR_RETURN(rotated, scaling.FloatOr("partial_rotary_factor", rotated));
    ASSIGN_OR_RETURN(type, ScalingType(scaling));
    if (type == "linear") RETURN_IF_ERROR(ReadLinear(scaling, config));
    if (type == "llama3") RETURN_IF_ERROR(ReadLlama3(scaling, config));
    if (type == "yarn") RETURN_IF_ERROR(ReadYarn(scaling, config));
  }
  if (rotated != 1.0) {
    return absl::UnimplementedError(
        absl::StrCat("'partial_rotary_factor' ", rotated, " is not supported (1 is)"));
  }
  if (type != "default" && type != "linear" && type != "llama3" && type != "yarn") {
    return absl::UnimplementedError(absl::StrCat(
        "RoPE scaling ", Quoted(type), " is not supported (linear, llama3 and yarn are)"));
  }
  return absl::OkStatus();
}

}  // namespace lynx
