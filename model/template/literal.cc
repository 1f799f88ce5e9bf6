#include "model/template/error.h"
#include "model/template/lexer.h"
#include "model/template/utf8.h"
#include "runtime/status.h"

namespace lynx::jinja {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Reads exactly `count` digits at s[*pos].
absl::StatusOr<uint32_t> Hex(std::string_view s, size_t* pos, size_t count) {
  uint32_t value = 0;
  for (size_t i = 0; i < count; ++i, ++*pos) {
    const int digit = *pos < s.size() ? HexDigit(s[*pos]) : -1;
    if (digit < 0) return Error("a string has a broken escape sequence");
    value = value * 16 + static_cast<uint32_t>(digit);
  }
  if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) {
    return Error("a string has an escape sequence that is no character");
  }
  return value;
}

uint32_t Octal(std::string_view s, size_t* pos) {
  uint32_t value = 0;
  for (int i = 0; i < 3 && *pos < s.size() && s[*pos] >= '0' && s[*pos] <= '7'; ++i, ++*pos) {
    value = value * 8 + static_cast<uint32_t>(s[*pos] - '0');
  }
  return value;
}

bool Simple(char c, char* out) {
  static constexpr std::string_view kFrom = "ntr\\'\"abfv";
  static constexpr std::string_view kTo = "\n\t\r\\'\"\a\b\f\v";
  const size_t i = kFrom.find(c);
  if (i == std::string_view::npos) return false;
  *out = kTo[i];
  return true;
}

}  // namespace

absl::StatusOr<std::string> DecodeLiteral(std::string_view s) {
  std::string out;
  for (size_t i = 0; i < s.size();) {
    if (s[i] != '\\' || i + 1 == s.size()) {
      out.push_back(s[i++]);
      continue;
    }
    const char c = s[i + 1];
    i += 2;
    char simple;
    if (Simple(c, &simple)) {
      out.push_back(simple);
    } else if (c == '\n') {
      continue;  // a backslash at the line's end joins the lines
    } else if (c == 'x' || c == 'u' || c == 'U') {
      ASSIGN_OR_RETURN(const uint32_t value, Hex(s, &i, c == 'x' ? 2 : c == 'u' ? 4 : 8));
      AppendUtf8(out, value);
    } else if (c >= '0' && c <= '7') {
      --i;
      AppendUtf8(out, Octal(s, &i));
    } else if (c == 'N') {
      return Error("\\N{...} in strings is not supported");
    } else {
      out.push_back('\\');
      out.push_back(c);
    }
  }
  return out;
}

}  // namespace lynx::jinja
