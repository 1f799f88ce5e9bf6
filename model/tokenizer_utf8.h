// UTF-8 as tokenizers need it: broken bytes become U+FFFD, one for each maximal part of a
// character, which is what Python's bytes.decode("utf-8", "replace") and Rust's from_utf8_lossy do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace lynx {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

enum class Utf8State : uint8_t {
  kValid,       // one whole character
  kBroken,      // no character begins so: these bytes count as one U+FFFD
  kIncomplete,  // the text ends inside a character that more bytes could complete
};

struct Utf8Unit {
  size_t size = 0;  // bytes, at least 1
  Utf8State state = Utf8State::kBroken;
};

// What stands at `pos` < text.size().
Utf8Unit NextUtf8Unit(std::string_view text, size_t pos);

// The length of the longest valid beginning of `text`.
size_t ValidUtf8Prefix(std::string_view text);

// `text` with everything broken replaced.
std::string RepairUtf8(std::string_view text);

// The code point of the valid character at `pos`.
char32_t DecodeUtf8(std::string_view text, size_t pos);

// `c` is a Unicode scalar value.
void AppendUtf8(char32_t c, std::string* out);

}  // namespace lynx
