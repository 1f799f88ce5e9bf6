// The TextModel of a model file: its tokenizer, its chat template, the ids that end its texts.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "gateway/text_model.h"

namespace lynx {

// `path`: a GGUF file or a Hugging Face folder; no weights are read. A chat template that uses what
// is not supported is an error here. Without any template chats are refused with INVALID_ARGUMENT.
absl::StatusOr<std::unique_ptr<const TextModel>> LoadTextModel(const std::string& path);

}  // namespace lynx
