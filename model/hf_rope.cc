#include "model/hf_rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>
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

struct Llama3Scaling {
  double factor = 0;
  double low_freq_factor = 0;   // turns over the original context below which a wave is divided
  double high_freq_factor = 0;  // and above which it is left alone
  int64_t original_context = 0;
};

absl::StatusOr<Llama3Scaling> ReadLlama3(const JsonFields& fields) {
  Llama3Scaling s;
  ASSIGN_OR_RETURN(s.factor, fields.Float("factor"));
  ASSIGN_OR_RETURN(s.low_freq_factor, fields.Float("low_freq_factor"));
  ASSIGN_OR_RETURN(s.high_freq_factor, fields.Float("high_freq_factor"));
  ASSIGN_OR_RETURN(s.original_context, fields.Int("original_max_position_embeddings"));
  if (s.original_context < 1 || s.original_context > (1 << 30)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the RoPE scaling's original context is ", s.original_context));
  }
  if (s.low_freq_factor <= 0 || s.high_freq_factor <= s.low_freq_factor) {
    return absl::InvalidArgumentError(absl::StrCat("the RoPE scaling's frequency factors are ",
                                                   s.low_freq_factor, " and ", s.high_freq_factor));
  }
  return s;
}

// GGUF files hold these divisors ready-made (tensor rope_freqs.weight). Their converter computes
// them with PyTorch in float32, where a number divided by a tensor is the tensor's reciprocal times
// the number: the same steps here, so that both formats of a model have the same bits.
std::vector<float> Llama3Divisors(double theta, int64_t head_dim, const Llama3Scaling& s) {
  const auto context = static_cast<float>(s.original_context);
  const auto factor = static_cast<float>(s.factor);
  const auto low = static_cast<float>(s.low_freq_factor);
  const auto band = static_cast<float>(s.high_freq_factor - s.low_freq_factor);
  const auto longest = static_cast<float>(s.original_context / s.low_freq_factor);
  const auto shortest = static_cast<float>(s.original_context / s.high_freq_factor);
  std::vector<float> divisors;
  for (int64_t i = 0; i < head_dim; i += 2) {
    const float exponent = static_cast<float>(i) / static_cast<float>(head_dim);
    const float frequency = 1 / static_cast<float>(std::pow(theta, double{exponent}));
    const float wavelength = (1 / frequency) * static_cast<float>(2 * std::numbers::pi);
    if (wavelength < shortest) {
      divisors.push_back(1);
    } else if (wavelength > longest) {
      divisors.push_back(factor);
    } else {
      const float smooth = ((1 / wavelength) * context - low) / band;
      divisors.push_back(1 / ((1 - smooth) / factor + smooth));
    }
  }
  return divisors;
}

absl::Status ScaleLlama3(const JsonFields& fields, ModelConfig* config) {
  ASSIGN_OR_RETURN(const Llama3Scaling scaling, ReadLlama3(fields));
  RETURN_IF_ERROR(ValidateModelConfig(*config));  // its sizes are as in the file so far
  config->rope.frequency_divisors = Llama3Divisors(config->rope.theta, config->head_dim, scaling);
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
    if (type == "llama3") RETURN_IF_ERROR(ScaleLlama3(scaling, config));
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
