#include "model/model_config.h"

#include <cmath>

namespace lynx {

namespace {

struct Bound {
  const char* what;
  int64_t value;
  int64_t max;
};

absl::Status CheckBounds(const ModelConfig& c) {
  const Bound bounds[] = {
      {"the number of layers", c.layers, 4096},
      {"the hidden size", c.hidden, 1 << 20},
      {"the intermediate size", c.intermediate, 1 << 22},
      {"the number of query heads", c.q_heads, 4096},
      {"the number of KV heads", c.kv_heads, 4096},
      {"the head size", c.head_dim, 1024},
      {"the vocabulary size", c.vocab, 1 << 24},
      {"the context length", c.max_context, 1 << 30},
  };
  for (const Bound& b : bounds) {
    if (b.value < 1 || b.value > b.max) {
      return absl::InvalidArgumentError(
          absl::StrCat(b.what, " is ", b.value, ", not in 1 to ", b.max));
    }
  }
  return absl::OkStatus();
}

bool FinitePositive(double x) { return std::isfinite(x) && x > 0; }

absl::Status CheckRope(const ModelConfig& c) {
  const RopeConfig& rope = c.rope;
  if (!FinitePositive(rope.theta))
    return absl::InvalidArgumentError(absl::StrCat("the RoPE base is ", rope.theta));
  if (!FinitePositive(rope.factor))
    return absl::InvalidArgumentError(absl::StrCat("the RoPE scaling factor is ", rope.factor));
  if (rope.scaling == RopeScaling::kYarn &&
      (rope.original_context < 1 || rope.original_context > (1 << 30))) {
    return absl::InvalidArgumentError(
        absl::StrCat("the RoPE scaling's original context is ", rope.original_context));
  }
  if (rope.scaling == RopeScaling::kYarn &&
      !(FinitePositive(rope.beta_fast) && FinitePositive(rope.beta_slow) &&
        rope.beta_fast > rope.beta_slow && std::isfinite(rope.attention_factor) &&
        rope.attention_factor >= 0)) {
    return absl::InvalidArgumentError("the RoPE scaling's beta or attention factors are invalid");
  }
  if (!rope.frequency_divisors.empty() &&
      rope.frequency_divisors.size() != static_cast<size_t>(c.head_dim / 2)) {
    return absl::InvalidArgumentError("the RoPE frequency divisors do not fit the head size");
  }
  for (float divisor : rope.frequency_divisors) {
    if (!FinitePositive(divisor))
      return absl::InvalidArgumentError(absl::StrCat("a RoPE frequency divisor is ", divisor));
  }
  return absl::OkStatus();
}

}  // namespace

std::string_view ArchitectureName(Architecture architecture) {
  return architecture == Architecture::kLlama ? "llama" : "qwen2";
}

absl::Status ValidateModelConfig(const ModelConfig& c) {
  RETURN_IF_ERROR(CheckBounds(c));
  if (c.head_dim % 2 != 0)
    return absl::InvalidArgumentError(absl::StrCat("the head size, ", c.head_dim, ", is odd"));
  if (c.q_heads % c.kv_heads != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(c.q_heads, " query heads are no multiple of ", c.kv_heads, " KV heads"));
  }
  if (!FinitePositive(c.rms_eps))
    return absl::InvalidArgumentError(absl::StrCat("the RMS norm's epsilon is ", c.rms_eps));
  RETURN_IF_ERROR(CheckRope(c));
  for (int32_t id : c.eos_ids) {
    if (id < 0 || id >= c.vocab) {
      return absl::InvalidArgumentError(
          absl::StrCat("end-of-text id ", id, " is not in the vocabulary of ", c.vocab, " tokens"));
    }
  }
  return absl::OkStatus();
}

}  // namespace lynx
