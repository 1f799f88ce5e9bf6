#include "model/hf_config.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "model/hf_rope.h"
#include "model/json_file.h"
#include "model/quoted.h"

namespace lynx {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr uint64_t kMaxConfigBytes = 16 << 20;

absl::StatusOr<std::string> ArchitectureClass(const JsonFields& fields) {
  const json* classes = fields.Find("architectures");
  if (classes == nullptr || !classes->is_array() || classes->size() != 1 ||
      !classes->front().is_string()) {
    return absl::InvalidArgumentError("'architectures' is no array of one string");
  }
  return classes->front().get<std::string>();
}

absl::StatusOr<Architecture> ReadArchitecture(const std::string& name) {
  if (name == "LlamaForCausalLM" || name == "MistralForCausalLM") return Architecture::kLlama;
  if (name == "Qwen2ForCausalLM") return Architecture::kQwen2;
  return absl::UnimplementedError(absl::StrCat("architecture ", Quoted(name),
                                               " is not supported (LlamaForCausalLM, ",
                                               "MistralForCausalLM and Qwen2ForCausalLM are)"));
}

absl::Status ReadSizes(const JsonFields& fields, ModelConfig* config) {
  ASSIGN_OR_RETURN(config->layers, fields.Int("num_hidden_layers"));
  ASSIGN_OR_RETURN(config->hidden, fields.Int("hidden_size"));
  ASSIGN_OR_RETURN(config->intermediate, fields.Int("intermediate_size"));
  ASSIGN_OR_RETURN(config->q_heads, fields.Int("num_attention_heads"));
  ASSIGN_OR_RETURN(config->kv_heads, fields.IntOr("num_key_value_heads", config->q_heads));
  ASSIGN_OR_RETURN(
      config->head_dim,
      fields.IntOr("head_dim", config->hidden / std::max<int64_t>(config->q_heads, 1)));
  ASSIGN_OR_RETURN(config->vocab, fields.Int("vocab_size"));
  ASSIGN_OR_RETURN(config->max_context, fields.Int("max_position_embeddings"));
  ASSIGN_OR_RETURN(double eps, fields.FloatOr("rms_norm_eps", 1e-6));
  config->rms_eps = static_cast<float>(eps);
  ASSIGN_OR_RETURN(config->tied_embeddings, fields.BoolOr("tie_word_embeddings", false));
  return absl::OkStatus();
}

// Whether some layer attends to a window only. Qwen2's files name a window that is switched off.
absl::StatusOr<bool> WindowInUse(const JsonFields& fields, const ModelConfig& config) {
  if (const json* types = fields.Find("layer_types"); types != nullptr) {
    if (!types->is_array()) return absl::InvalidArgumentError("'layer_types' is no array");
    return std::any_of(types->begin(), types->end(),
                       [](const json& type) { return type != "full_attention"; });
  }
  if (config.architecture != Architecture::kQwen2) return true;
  ASSIGN_OR_RETURN(bool use, fields.BoolOr("use_sliding_window", false));
  ASSIGN_OR_RETURN(int64_t full_layers, fields.IntOr("max_window_layers", 0));
  return use && full_layers < config.layers;
}

absl::Status RefuseSlidingWindow(const JsonFields& fields, const ModelConfig& config) {
  ASSIGN_OR_RETURN(int64_t window, fields.IntOr("sliding_window", 0));
  if (window <= 0 || window >= config.max_context) return absl::OkStatus();
  ASSIGN_OR_RETURN(bool in_use, WindowInUse(fields, config));
  if (!in_use) return absl::OkStatus();
  return absl::UnimplementedError(absl::StrCat("sliding-window attention ('sliding_window' ",
                                               window, ", context ", config.max_context,
                                               ") is not supported"));
}

absl::Status RefuseUnsupported(const JsonFields& fields, const ModelConfig& config) {
  ASSIGN_OR_RETURN(std::string activation, fields.StringOr("hidden_act", "silu"));
  if (activation != "silu") {
    return absl::UnimplementedError(
        absl::StrCat("'hidden_act' ", Quoted(activation), " is not supported (silu is)"));
  }
  for (const char* key : {"attention_bias", "mlp_bias"}) {
    ASSIGN_OR_RETURN(bool value, fields.BoolOr(key, false));
    if (value) return absl::UnimplementedError(absl::StrCat("'", key, "' is not supported"));
  }
  if (fields.Find("quantization_config") != nullptr) {
    return absl::UnimplementedError(
        "quantized weights ('quantization_config') are not supported in a Hugging Face folder");
  }
  return RefuseSlidingWindow(fields, config);
}

// One id or several.
absl::Status AddEosIds(const JsonFields& fields, const ModelConfig& config,
                       std::set<int32_t>* ids) {
  const json* value = fields.Find("eos_token_id");
  if (value == nullptr) return absl::OkStatus();
  for (const json& element : value->is_array() ? *value : json::array({*value})) {
    auto id = JsonInt(element);
    if (!id.ok() || *id < 0 || *id >= config.vocab) {
      return absl::InvalidArgumentError(absl::StrCat(
          "'eos_token_id' holds what is no id in the vocabulary of ", config.vocab, " tokens"));
    }
    ids->insert(static_cast<int32_t>(*id));
  }
  return absl::OkStatus();
}

absl::StatusOr<ModelConfig> ReadConfig(const JsonFields& fields) {
  ModelConfig config;
  ASSIGN_OR_RETURN(std::string architecture, ArchitectureClass(fields));
  ASSIGN_OR_RETURN(config.architecture, ReadArchitecture(architecture));
  config.qkv_bias = config.architecture == Architecture::kQwen2;
  RETURN_IF_ERROR(ReadSizes(fields, &config));
  RETURN_IF_ERROR(ReadHfRope(fields, &config));
  RETURN_IF_ERROR(RefuseUnsupported(fields, config));
  RETURN_IF_ERROR(ValidateModelConfig(config));
  return config;
}

}  // namespace

absl::StatusOr<ModelConfig> ConfigFromHfFolder(const std::string& folder) {
  const std::string path = (fs::path(folder) / "config.json").string();
  ASSIGN_OR_RETURN(json object, ReadJsonFile(path, kMaxConfigBytes));
  JsonFields fields(object);
  auto config = ReadConfig(fields);
  if (!config.ok()) return Annotate(config.status(), path);
  std::set<int32_t> ids;
  if (auto s = AddEosIds(fields, *config, &ids); !s.ok()) return Annotate(s, path);

  const std::string generation_path = (fs::path(folder) / "generation_config.json").string();
  auto generation = ReadJsonFile(generation_path, kMaxConfigBytes);
  if (!generation.ok() && !absl::IsNotFound(generation.status())) return generation.status();
  if (generation.ok()) {
    if (auto s = AddEosIds(JsonFields(*generation), *config, &ids); !s.ok())
      return Annotate(s, generation_path);
  }
  config->eos_ids.assign(ids.begin(), ids.end());
  const fs::path clean = fs::absolute(folder).lexically_normal();
  config->name = (clean.has_filename() ? clean : clean.parent_path()).filename().string();
  return config;
}

}  // namespace lynx
