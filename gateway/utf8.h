// UTF-8 in pieces: the text that bytes stand for, as far as it is decided yet.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace lynx {

// Appends `bytes` to `out` with each ill-formed sequence (maximal subpart) replaced by U+FFFD, as
// Python's and Rust's lossy decoders do. A sequence at the end that may yet become a character is
// not appended; its length is returned (0 to 3).
size_t AppendUtf8(std::string_view bytes, std::string* out);

// All of `bytes`, the incomplete end as U+FFFD.
std::string LossyUtf8(std::string_view bytes);

// Characters of a well-formed text.
size_t CountCodePoints(std::string_view text);

}  // namespace lynx
