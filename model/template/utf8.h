// Code points in byte strings that should be UTF-8. A byte that is not part of a valid sequence
// counts as one character of its own and is kept as it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lynx::jinja {

struct CodePoint {
  uint32_t value;  // kInvalidBase + byte for a byte outside any valid sequence
  size_t bytes;
};
inline constexpr uint32_t kInvalidBase = 0x110000;

// The code point that starts at `offset` < s.size().
CodePoint DecodeAt(std::string_view s, size_t offset);
void AppendUtf8(std::string& out, uint32_t code_point);
size_t CountCodePoints(std::string_view s);
// Byte offset of each code point, and s.size() at the end.
std::vector<size_t> CodePointOffsets(std::string_view s);

// str.isspace and str.isprintable of Python for one code point (isprintable: the common cases).
bool IsSpace(uint32_t c);
bool IsPrintable(uint32_t c);
// Letters and case: ASCII, Latin-1, Latin Extended-A, Greek and Cyrillic. Others have no case; for
// IsAlpha, other code points from U+0250 on count as letters unless they are spaces or punctuation.
uint32_t ToUpper(uint32_t c);
uint32_t ToLower(uint32_t c);
bool IsUpper(uint32_t c);
bool IsLower(uint32_t c);
bool IsAlpha(uint32_t c);
inline bool IsDigit(uint32_t c) { return c >= '0' && c <= '9'; }

}  // namespace lynx::jinja
