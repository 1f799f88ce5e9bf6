// The subcommands of `lynx`. Each function adds its command to the program and, if it is the one
// that was called, leaves what is to be done in `run`. Errors are one line on stderr, exit code 1;
// a wrong command line is exit code 2.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "runtime/status.h"

namespace lynx {

using CommandRun = std::function<absl::Status()>;

void AddUpCommand(CLI::App& app, CommandRun* run);
void AddGenerateCommand(CLI::App& app, CommandRun* run);
void AddBenchCommand(CLI::App& app, CommandRun* run);
void AddProbeCommand(CLI::App& app, CommandRun* run);
void AddTraceCommand(CLI::App& app, CommandRun* run);
void AddConfigCommands(CLI::App& app, CommandRun* run);

}  // namespace lynx
