// What the tokenizer tests share: the texts, the goldens and the four tokenizers.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/tokenizer.h"

namespace lynx::test {

std::string ReadFileOrFail(const std::string& path);
std::vector<std::string> SplitLines(std::string_view text);
// The texts of tests/data/tokenizer/lines.txt.
std::vector<std::string> TokenizerTexts();

// "smollm2" and "qwen2.5" from their GGUF files in models/ (tests/fetch-models.sh), "llama3" and
// "qwen3" from the tokenizer.json in tests/data. Loaded once.
const Tokenizer& NamedTokenizer(const std::string& name);
inline const std::vector<std::string> kTokenizerNames = {"smollm2", "qwen2.5", "llama3", "qwen3"};

// A tokenizer.json of 256 byte tokens (ids 0 to 255 are the bytes) and some merges, in which
// `old_part` was replaced by `new_part`, once.
std::string TinyTokenizerJson(std::string_view old_part = "", std::string_view new_part = "");

}  // namespace lynx::test
