// What the mains of both engine servers do in the same way: command line, signals, draining.
#pragma once

#include <spdlog/spdlog.h>

#include <chrono>
#include <optional>

#include "config/config.h"
#include "runtime/shutdown_signal.h"

namespace lynx {

// Reads `--config F` and `--section.key=value` flags, sets up logging and warns of what the
// configuration ignores. Nothing: errors (or help) were printed and the process ends with
// *exit_code.
std::optional<Config> ConfigFromCommandLine(const char* role, int argc, char** argv,
                                            int* exit_code);

// Until a signal comes; then drains: at most `limit`, or until a second signal.
template <typename Server>
void ServeUntilSignal(const ShutdownSignal& signal, Server& server, std::chrono::seconds limit) {
  const int number = signal.Wait();
  spdlog::info("draining signal={} open_calls={} limit_s={}", number, server.open_calls(),
               limit.count());
  server.Drain();
  const auto end = std::chrono::steady_clock::now() + limit;
  while (server.open_calls() > 0 && std::chrono::steady_clock::now() < end) {
    if (signal.WaitFor(std::chrono::milliseconds(50))) break;
  }
  spdlog::info("stopping open_calls={}", server.open_calls());
}

}  // namespace lynx
