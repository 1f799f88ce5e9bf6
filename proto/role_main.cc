#include "proto/role_main.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <utility>

#include "config/load.h"
#include "runtime/log.h"

namespace lynx {
namespace {

// Nothing: errors (or help) were printed and the process ends with *exit_code.
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
  const LogConfig& log = loaded->config.log;
  InitLogging(role, log.level, log.format == "json" ? LogFormat::kJson : LogFormat::kText);
  for (const std::string& warning : loaded->warnings) {
    spdlog::warn("config_ignored what={}", LogValue(warning));
  }
  return std::move(loaded->config);
}

// What NCCL and CUDA read when they start, unless the operator has said something else. NCCL: work
// on two communicators of one GPU keeps its order. CUDA: streams do not share hardware queues,
// where an Anchor would wait behind a Residual.
void SetGpuEnvironment() {
  ::setenv("NCCL_LAUNCH_ORDER_IMPLICIT", "1", /*overwrite=*/0);
  ::setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", /*overwrite=*/0);
}

// What a start may take beside the reading of weights that is seen: opening a GPU, warming up.
constexpr Nanos kLoadingExtension = std::chrono::seconds(60);
// Behind the drain: ending calls and connections, letting go of a GPU.
constexpr Nanos kEndingExtension = std::chrono::seconds(30);

// Asked about once a second: progress is what has been read since.
ServiceProbe LoadingProbe(const WorkProgress& progress) {
  return {.status = [&] { return absl::StrCat("loading model: ", progress.percent(), " %"); },
          .progressing =
              [&, last = int64_t{-1}]() mutable {
                const int64_t before = std::exchange(last, progress.done());
                return before != last;
              }};
}

ServiceProbe ServingProbe(const RoleServer& server) {
  return {.status = [&] { return "serving: " + server.activity(); },
          .progressing = [&] { return server.progressing(); }};
}

// The end has its limits; the watchdog is not one of them.
ServiceProbe StoppingProbe(std::function<std::string()> status) {
  return {.status = std::move(status), .progressing = [] { return true; }};
}

}  // namespace

void ExitStuck() {
  spdlog::error(
      "event=nccl_stuck exit={} what=\"the GPU still uses memory of an operation that was "
      "aborted\"",
      kStuckExit);
  spdlog::default_logger()->flush();
  std::_Exit(kStuckExit);
}

void ServeUntilSignal(const ShutdownSignal& signal, RoleServer& server, std::chrono::seconds limit,
                      ServiceReporter& reporter) {
  reporter.Enter(ServicePhase::kServing, ServingProbe(server));
  const int number = signal.Wait();
  spdlog::info("draining signal={} open_calls={} limit_s={}", number, server.open_calls(),
               limit.count());
  const auto draining = [&] { return absl::StrCat("draining: ", server.open_calls(), " open"); };
  reporter.Enter(ServicePhase::kStopping, StoppingProbe(draining), limit + kEndingExtension);
  server.Drain();
  const auto end = std::chrono::steady_clock::now() + limit;
  while (server.open_calls() > 0 && std::chrono::steady_clock::now() < end) {
    if (signal.WaitFor(std::chrono::milliseconds(50))) break;
  }
  spdlog::info("stopping open_calls={}", server.open_calls());
  reporter.Enter(ServicePhase::kStopping, StoppingProbe([] { return "stopping"; }),
                 kEndingExtension);
}

int RoleMain(const char* role, int argc, char** argv, const StartRole& start) {
  SetGpuEnvironment();
  const ShutdownSignal signal;  // before any thread
  int exit_code = 0;
  const std::optional<Config> config = ConfigFromCommandLine(role, argc, argv, &exit_code);
  if (!config) return exit_code;
  WorkProgress progress;
  ServiceReporter reporter(ReadServiceEnvironment(environ, ::getpid()));
  reporter.Enter(ServicePhase::kLoading, LoadingProbe(progress), kLoadingExtension);
  const absl::StatusOr<RunningRole> running = start(*config, progress);
  if (!running.ok()) {
    spdlog::error("start_failed error={}", LogValue(std::string(running.status().message())));
    return 1;
  }
  spdlog::info("ready {}", running->addresses);
  ServeUntilSignal(signal, *running->server, running->drain_limit, reporter);
  return 0;
}

}  // namespace lynx
