// Unicode normalization form C.
#pragma once

#include <string>
#include <string_view>

namespace lynx {

// True only if `text` (valid UTF-8) is surely in NFC: all its characters belong to ranges where
// every character is, whatever stands beside it. Most text passes.
bool IsSurelyNfc(std::string_view text);

// `text` (valid UTF-8) in NFC. n log n in the longest run of combining marks.
std::string NormalizeNfc(std::string_view text);

}  // namespace lynx
