// Configuration as commands take it: --config F and --section.key=value.
#pragma once

#include <string>
#include <vector>

#include "config/load.h"
#include "runtime/status.h"

namespace lynx {

// From the file (empty: none), the environment and flags, with warnings on stderr.
absl::StatusOr<LoadedConfig> LoadCommandConfig(const std::string& file,
                                               const std::vector<std::string>& flags);

}  // namespace lynx
