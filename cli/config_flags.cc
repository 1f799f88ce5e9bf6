#include "cli/config_flags.h"

#include <unistd.h>

#include <cstdio>

namespace lynx {

absl::StatusOr<LoadedConfig> LoadCommandConfig(const std::string& file,
                                               const std::vector<std::string>& flags) {
  ASSIGN_OR_RETURN(const ConfigSources sources, ReadConfigSources(file, environ, flags));
  ASSIGN_OR_RETURN(LoadedConfig loaded, LoadConfig(sources));
  for (const std::string& warning : loaded.warnings) {
    std::fprintf(stderr, "lynx: warning: %s\n", warning.c_str());
  }
  return loaded;
}

}  // namespace lynx
