// The model's description out of a GGUF file's metadata.
#pragma once

#include "model/gguf.h"
#include "model/model_config.h"

namespace lynx {

// Architectures llama and qwen2. UNIMPLEMENTED names what is not supported; INVALID_ARGUMENT and
// NOT_FOUND name the key that is wrong or missing. The result is valid (ValidateModelConfig).
// `name` is empty if the file has none.
absl::StatusOr<ModelConfig> ConfigFromGguf(const GgufFile& file);

}  // namespace lynx
