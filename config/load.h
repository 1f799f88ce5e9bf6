// From flags, environment and file to a Config: flags win over the environment, it over the file,
// that over the defaults.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/config.h"
#include "runtime/status.h"

namespace lynx {

struct ConfigSources {
  // Name and content of the config file; no name: no file.
  std::string file_name;
  std::string file_text;
  // NAME, value. Only names that begin with LYNX_ matter.
  std::vector<std::pair<std::string, std::string>> environment;
  // "--gateway.port=8000", the dashes may be missing. A later one replaces an earlier one.
  std::vector<std::string> flags;
};

// Sources with the file read (NOT_FOUND and others name it; empty path: no file) and the process'
// environment, as main's `environ` has it.
absl::StatusOr<ConfigSources> ReadConfigSources(const std::string& file_path,
                                                const char* const* environment,
                                                std::vector<std::string> flags);

struct LoadedConfig {
  Config config;
  // Of each field by its path: "default", "file lynx.json:12", "environment LYNX_KV_TARGET", "flag
  // --kv.target".
  std::map<std::string, std::string> origins;
  // LYNX_* variables that name no option. No error, because others set such names too: Kubernetes
  // does for a service called lynx-something.
  std::vector<std::string> warnings;
};

// INVALID_ARGUMENT with one line for each error found: where it stands, the key's full path, what
// is wrong.
absl::StatusOr<LoadedConfig> LoadConfig(const ConfigSources& sources);

}  // namespace lynx
