// `lynx check-config`, `dump-config` and `print-schema`.
#include <cstdio>
#include <memory>

#include "cli/command.h"
#include "cli/config_flags.h"
#include "config/print.h"

namespace lynx {
namespace {

struct Arguments {
  std::string file;
  std::vector<std::string> flags;
};

absl::Status Check(const Arguments& a) {
  ASSIGN_OR_RETURN(const LoadedConfig loaded, LoadCommandConfig(a.file, a.flags));
  std::printf("%s: ok\n", a.file.c_str());
  return absl::OkStatus();
}

absl::Status Dump(const Arguments& a) {
  ASSIGN_OR_RETURN(const LoadedConfig loaded, LoadCommandConfig(a.file, a.flags));
  std::fputs(DumpConfig(loaded).c_str(), stdout);
  return absl::OkStatus();
}

}  // namespace

void AddConfigCommands(CLI::App& app, CommandRun* run) {
  auto a = std::make_shared<Arguments>();
  CLI::App* check = app.add_subcommand("check-config", "Say whether a config file is right");
  check->add_option("file", a->file, "The config file")->required();
  check->allow_extras();
  check->callback([=] {
    a->flags = check->remaining();
    *run = [a] { return Check(*a); };
  });
  CLI::App* dump = app.add_subcommand("dump-config", "Print the values in effect and their origin");
  dump->add_option("--config", a->file, "The config file");
  dump->allow_extras();
  dump->callback([=] {
    a->flags = dump->remaining();
    *run = [a] { return Dump(*a); };
  });
  CLI::App* schema = app.add_subcommand("print-schema", "Print the config file's JSON Schema");
  schema->callback([=] {
    *run = [] {
      std::fputs(ConfigSchema().c_str(), stdout);
      return absl::OkStatus();
    };
  });
}

}  // namespace lynx
