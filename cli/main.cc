// lynx: everything that is done on one machine, by people.
#include <cstdio>

#include "cli/command.h"
#include "runtime/log.h"

namespace {

constexpr int kUsageError = 2;

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Lynx: language models served by separate prefill and decode processes."};
  app.require_subcommand(1);
  lynx::CommandRun run;
  lynx::AddUpCommand(app, &run);
  lynx::AddGenerateCommand(app, &run);
  lynx::AddBenchCommand(app, &run);
  lynx::AddProbeCommand(app, &run);
  lynx::AddTraceCommand(app, &run);
  lynx::AddConfigCommands(app, &run);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "lynx: %s (see lynx --help)\n", error.what());
    return kUsageError;
  }
  lynx::InitLogging("lynx", "warn");
  const absl::Status status = run();
  if (status.ok()) return 0;
  std::fprintf(stderr, "lynx: %s\n", std::string(status.message()).c_str());
  return 1;
}
