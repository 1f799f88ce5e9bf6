// What the mains of all servers do in the same way: command line, start, signals, draining.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "config/config.h"
#include "runtime/service_reporter.h"
#include "runtime/shutdown_signal.h"
#include "runtime/status.h"
#include "runtime/work_progress.h"

namespace lynx {

// A server as its main sees it.
class RoleServer {
 public:
  virtual ~RoleServer() = default;  // ends what still runs

  // From now on: not ready, no new requests; what is in flight goes on.
  virtual void Drain() = 0;
  virtual int64_t open_calls() const = 0;  // 0 after Drain: nothing is in flight

  // For the service manager; any thread, without waiting.
  virtual bool progressing() const = 0;      // false for long: only a restart helps
  virtual std::string activity() const = 0;  // "3 requests running, 2 waiting"
};

struct RunningRole {
  std::unique_ptr<RoleServer> server;
  std::string addresses;  // logged when it is ready, "address=127.0.0.1:8201"
  std::chrono::seconds drain_limit{0};
};

// Starts a role's server. `progress` counts the loading of the model.
using StartRole =
    std::function<absl::StatusOr<RunningRole>(const Config& config, WorkProgress& progress)>;

// Reads `--config F` and `--section.key=value` flags, sets up logging, warns of what the
// configuration ignores, starts, and serves until a signal; a service manager is told of all of it.
// Returns the exit code; what is wrong is one line on stderr.
int RoleMain(const char* role, int argc, char** argv, const StartRole& start);

// The GPU, or NCCL, does not let go of memory that is about to be given back, which would wait for
// ever: logs event=nccl_stuck and ends the process at once with kStuckExit.
[[noreturn]] void ExitStuck();
inline constexpr int kStuckExit = 3;

// Until a signal comes; then drains: at most `limit`, or until a second signal. Afterwards the
// reporter does not ask the server any more.
void ServeUntilSignal(const ShutdownSignal& signal, RoleServer& server, std::chrono::seconds limit,
                      ServiceReporter& reporter);

}  // namespace lynx
