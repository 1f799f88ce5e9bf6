#include "model/gguf_config.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "model/dequantize.h"
#include "model/quoted.h"

namespace lynx {

namespace {

// Reads keys that begin with the architecture's name.
class ArchitectureKeys {
 public:
  ArchitectureKeys(const GgufFile& file, std::string architecture)
      : file_(file), prefix_(std::move(architecture) + ".") {}

  absl::StatusOr<int64_t> Int(const char* key) const { return file_.Int(prefix_ + key); }
  absl::StatusOr<int64_t> IntOr(const char* key, int64_t absent) const {
    return file_.Has(prefix_ + key) ? Int(key) : absl::StatusOr<int64_t>(absent);
  }
  absl::StatusOr<double> FloatOr(const char* key, double absent) const {
    return file_.Has(prefix_ + key) ? file_.Float(prefix_ + key) : absl::StatusOr<double>(absent);
  }
  bool Has(const char* key) const { return file_.Has(prefix_ + key); }
  absl::StatusOr<std::string_view> String(const char* key) const {
    return file_.String(prefix_ + key);
  }

 private:
  const GgufFile& file_;
  const std::string prefix_;
};

absl::StatusOr<Architecture> ReadArchitecture(const GgufFile& file) {
  ASSIGN_OR_RETURN(std::string_view name, file.String("general.architecture"));
  if (name == "llama") return Architecture::kLlama;
  if (name == "qwen2") return Architecture::kQwen2;
  return absl::UnimplementedError(
      absl::StrCat("architecture ", Quoted(name), " is not supported (llama and qwen2 are)"));
}

absl::Status RefuseUnsupported(const GgufFile& file, const ArchitectureKeys& keys,
                               const ModelConfig& config) {
  if (file.Has("split.count")) {
    ASSIGN_OR_RETURN(int64_t parts, file.Int("split.count"));
    if (parts > 1) {
      return absl::UnimplementedError(absl::StrCat(
          "a GGUF model in ", parts, " files is not supported: merge them into one first"));
    }
  }
  ASSIGN_OR_RETURN(int64_t experts, keys.IntOr("expert_count", 0));
  if (experts > 0) return absl::UnimplementedError("mixtures of experts are not supported");
  ASSIGN_OR_RETURN(int64_t window, keys.IntOr("attention.sliding_window", 0));
  if (window > 0 && window < config.max_context) {
    return absl::UnimplementedError(absl::StrCat("sliding-window attention (", window,
                                                 " tokens, context ", config.max_context,
                                                 ") is not supported"));
  }
  ASSIGN_OR_RETURN(int64_t rotated, keys.IntOr("rope.dimension_count", config.head_dim));
  if (rotated != config.head_dim) {
    return absl::UnimplementedError(absl::StrCat("RoPE over ", rotated, " of ", config.head_dim,
                                                 " channels of a head is not supported"));
  }
  ASSIGN_OR_RETURN(int64_t value_size, keys.IntOr("attention.value_length", config.head_dim));
  if (value_size != config.head_dim) {
    return absl::UnimplementedError(absl::StrCat("values of ", value_size,
                                                 " channels beside keys of ", config.head_dim,
                                                 " are not supported"));
  }
  return absl::OkStatus();
}

absl::Status ReadFrequencyDivisors(const GgufFile& file, ModelConfig* config) {
  const ModelTensor* tensor = file.FindTensor("rope_freqs.weight");
  if (tensor == nullptr) {
    for (const char* name : {"rope_factors_long.weight", "rope_factors_short.weight"}) {
      if (file.FindTensor(name) != nullptr)
        return absl::UnimplementedError("RoPE scaling 'longrope' is not supported");
    }
    return absl::OkStatus();
  }
  if (config->rope.scaling != RopeScaling::kNone) {
    return absl::UnimplementedError(
        "tensor 'rope_freqs.weight' beside rope.scaling.type is not supported");
  }
  if (tensor->type != GgmlType::kF32 || tensor->shape != std::vector{config->head_dim / 2}) {
    return absl::InvalidArgumentError(absl::StrCat("tensor 'rope_freqs.weight' has shape ",
                                                   ShapeString(tensor->shape), ", wanted [",
                                                   config->head_dim / 2, "] of type F32"));
  }
  std::vector<float>& divisors = config->rope.frequency_divisors;
  divisors.resize(static_cast<size_t>(config->head_dim / 2));
  DequantizeToFloat(tensor->type, tensor->data, divisors);
  return absl::OkStatus();
}

absl::Status ReadRope(const GgufFile& file, const ArchitectureKeys& keys, ModelConfig* config) {
  RopeConfig& rope = config->rope;
  ASSIGN_OR_RETURN(rope.theta, keys.FloatOr("rope.freq_base", 10000.0));
  std::string_view type = "none";
  if (keys.Has("rope.scaling.type")) {
    ASSIGN_OR_RETURN(type, keys.String("rope.scaling.type"));
  } else if (keys.Has("rope.scale_linear")) {
    type = "linear";  // files of 2023
  }
  ASSIGN_OR_RETURN(double old_factor, keys.FloatOr("rope.scale_linear", 1.0));
  ASSIGN_OR_RETURN(double factor, keys.FloatOr("rope.scaling.factor", old_factor));
  if (type == "linear") {
    rope.scaling = RopeScaling::kLinear;
    rope.factor = factor;
  } else if (type == "yarn") {
    rope.scaling = RopeScaling::kYarn;
    rope.factor = factor;
    ASSIGN_OR_RETURN(rope.original_context,
                     keys.IntOr("rope.scaling.original_context_length", config->max_context));
    ASSIGN_OR_RETURN(double attention, keys.FloatOr("rope.scaling.attn_factor", 1.0));
    if (attention != 1.0) rope.attention_factor = attention * (0.1 * std::log(factor) + 1.0);
    ASSIGN_OR_RETURN(rope.beta_fast, keys.FloatOr("rope.scaling.yarn_beta_fast", rope.beta_fast));
    ASSIGN_OR_RETURN(rope.beta_slow, keys.FloatOr("rope.scaling.yarn_beta_slow", rope.beta_slow));
  } else if (type != "none") {
    return absl::UnimplementedError(
        absl::StrCat("RoPE scaling ", Quoted(type), " is not supported (linear and yarn are)"));
  }
  return ReadFrequencyDivisors(file, config);
}

absl::StatusOr<int64_t> ReadVocab(const GgufFile& file, const ArchitectureKeys& keys) {
  const ModelTensor* embedding = file.FindTensor("token_embd.weight");
  if (embedding != nullptr) return embedding->shape.front();
  return keys.Int("vocab_size");
}

// End-of-text ids that the file names, and control tokens that end a turn by their name: converters
// keep only one.
absl::Status ReadEosIds(const GgufFile& file, ModelConfig* config) {
  std::set<int64_t> ids;
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                          "tokenizer.ggml.eom_token_id"}) {
    if (!file.Has(key)) continue;
    ASSIGN_OR_RETURN(int64_t id, file.Int(key));
    if (id < 0 || id >= config->vocab) {
      return absl::InvalidArgumentError(absl::StrCat("metadata ", Quoted(key), " is ", id,
                                                     ", not in the vocabulary of ", config->vocab,
                                                     " tokens"));
    }
    ids.insert(id);
  }
  constexpr std::string_view kNames[] = {"<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>",
                                         "<|end_of_text|>"};
  constexpr int64_t kControl = 3;
  auto tokens = file.Array("tokenizer.ggml.tokens");
  auto types = file.Array("tokenizer.ggml.token_type");
  if (tokens.ok() && types.ok() && (*types)->size() == (*tokens)->size()) {
    auto strings = (*tokens)->strings();
    for (size_t i = 0; i < strings.size(); ++i) {
      if (std::find(std::begin(kNames), std::end(kNames), strings[i]) == std::end(kNames)) continue;
      ASSIGN_OR_RETURN(int64_t type, (*types)->Int(i));
      if (type == kControl) ids.insert(static_cast<int64_t>(i));
    }
  }
  for (int64_t id : ids) config->eos_ids.push_back(static_cast<int32_t>(id));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelConfig> ConfigFromGguf(const GgufFile& file) {
  ModelConfig config;
  ASSIGN_OR_RETURN(config.architecture, ReadArchitecture(file));
  ArchitectureKeys keys(file, std::string(ArchitectureName(config.architecture)));
  if (file.Has("general.name")) {
    ASSIGN_OR_RETURN(config.name, file.String("general.name"));
  }
  ASSIGN_OR_RETURN(config.layers, keys.Int("block_count"));
  ASSIGN_OR_RETURN(config.hidden, keys.Int("embedding_length"));
  ASSIGN_OR_RETURN(config.intermediate, keys.Int("feed_forward_length"));
  ASSIGN_OR_RETURN(config.q_heads, keys.Int("attention.head_count"));
  ASSIGN_OR_RETURN(config.kv_heads, keys.IntOr("attention.head_count_kv", config.q_heads));
  ASSIGN_OR_RETURN(
      config.head_dim,
      keys.IntOr("attention.key_length", config.hidden / std::max<int64_t>(config.q_heads, 1)));
  ASSIGN_OR_RETURN(config.max_context, keys.Int("context_length"));
  ASSIGN_OR_RETURN(double eps, keys.FloatOr("attention.layer_norm_rms_epsilon", 1e-5));
  config.rms_eps = static_cast<float>(eps);
  ASSIGN_OR_RETURN(config.vocab, ReadVocab(file, keys));
  config.tied_embeddings = file.FindTensor("output.weight") == nullptr;
  config.qkv_bias = config.architecture == Architecture::kQwen2 ||
                    file.FindTensor("blk.0.attn_q.bias") != nullptr;
  RETURN_IF_ERROR(RefuseUnsupported(file, keys, config));
  RETURN_IF_ERROR(ReadRope(file, keys, &config));
  RETURN_IF_ERROR(ReadEosIds(file, &config));
  RETURN_IF_ERROR(ValidateModelConfig(config));
  return config;
}

}  // namespace lynx
