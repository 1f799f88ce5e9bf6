// Splits a template into tokens, with trim_blocks and lstrip_blocks on and keep_trailing_newline
// off, as Hugging Face renders chat templates.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace lynx::jinja {

enum class TokenType {
  kData,  // text outside of tags
  kVariableBegin,
  kVariableEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,  // text: the decoded value
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenType type;
  std::string text;
  int line;
};

// Ends with a kEnd token. Errors name the line.
absl::StatusOr<std::vector<Token>> Tokenize(std::string_view source);

// Decodes the inside of a string literal: \n, \x41, \u00e9, octal. Errors: \N{...}, broken escapes.
absl::StatusOr<std::string> DecodeLiteral(std::string_view body);

}  // namespace lynx::jinja
