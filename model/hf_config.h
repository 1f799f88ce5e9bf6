// The model's description out of a Hugging Face folder's config.json and generation_config.json.
#pragma once

#include <string>

#include "model/model_config.h"
#include "runtime/status.h"

namespace lynx {

// Architectures LlamaForCausalLM, MistralForCausalLM and Qwen2ForCausalLM. UNIMPLEMENTED names what
// is not supported; other errors name the file and the field. The result is valid
// (ValidateModelConfig) and bears the folder's name.
absl::StatusOr<ModelConfig> ConfigFromHfFolder(const std::string& folder);

}  // namespace lynx
