#include "proto/role_main.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "config/load.h"
#include "runtime/log.h"

namespace lynx {

std::optional<Config> ConfigFromCommandLine(const char* role, int argc, char** argv,
                                            int* exit_code) {
  CLI::App app{absl::StrCat("Lynx ", role, " server. Any option of the configuration can be given ",
                            "as --section.key=value; flags win over the environment (LYNX_...), ",
                            "it over the file.")};
  std::string file;
  app.add_option("--config", file, "Configuration file (JSON)");
  app.allow_extras();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    *exit_code = app.exit(error);
    return std::nullopt;
  }
  const auto load = [&]() -> absl::StatusOr<LoadedConfig> {
    ASSIGN_OR_RETURN(const ConfigSources sources,
                     ReadConfigSources(file, environ, app.remaining()));
    return LoadConfig(sources);
  };
  absl::StatusOr<LoadedConfig> loaded = load();
  if (!loaded.ok()) {
    std::fprintf(stderr, "lynx-%s: %s\n", role, std::string(loaded.status().message()).c_str());
    *exit_code = 1;
    return std::nullopt;
  }
  InitLogging(role, loaded->config.log.level);
  for (const std::string& warning : loaded->warnings) {
    spdlog::warn("config_ignored what=\"{}\"", warning);
  }
  return std::move(loaded->config);
}

}  // namespace lynx
