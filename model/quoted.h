// Names out of files and requests, made fit for error messages.
#pragma once

#include <string>
#include <string_view>

namespace lynx {

// `text` in single quotes; bytes that are not printable ASCII as \xNN, cut after `max_bytes`.
std::string Quoted(std::string_view text, size_t max_bytes = 100);

}  // namespace lynx
