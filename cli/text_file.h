// Whole files as text.
#pragma once

#include <string>
#include <string_view>

#include "runtime/status.h"

namespace lynx {

// Errors name the path.
absl::StatusOr<std::string> ReadTextFile(const std::string& path);
absl::Status WriteTextFile(const std::string& path, std::string_view text);

}  // namespace lynx
