// The parts of tokenizer.json, each read into a TokenizerSpec. Unknown components are UNIMPLEMENTED
// and named, malformed ones INVALID_ARGUMENT.
#pragma once

#include <nlohmann/json.hpp>

#include "model/tokenizer_spec.h"
#include "runtime/status.h"

namespace lynx {

absl::Status ReadJsonModel(const nlohmann::json& model, TokenizerSpec* spec);  // "model"
absl::Status ReadJsonAddedTokens(const nlohmann::json& list,
                                 TokenizerSpec* spec);                             // "added_tokens"
absl::Status ReadJsonNormalizer(const nlohmann::json& part, TokenizerSpec* spec);  // "normalizer"
absl::Status ReadJsonPreTokenizer(const nlohmann::json& part,
                                  TokenizerSpec* spec);  // "pre_tokenizer"
absl::Status ReadJsonPostProcessor(const nlohmann::json& part,
                                   TokenizerSpec* spec);    // "post_processor"
absl::Status CheckJsonDecoder(const nlohmann::json& part);  // "decoder"

}  // namespace lynx
