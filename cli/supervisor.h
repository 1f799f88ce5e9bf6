// Keeps a few child processes running until a signal comes.
//
// Life: all are started at once; a child that ends before all of them are ready ends the whole,
// since its configuration is wrong; one that ends later is started again (restart_policy.h).
// SIGTERM or SIGINT ends them one after the other, each given time to drain; a second signal kills.
//
// Thread: one, which blocks the signals (construct the supervisor before any other is started).
#pragma once

#include <signal.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/child_process.h"
#include "cli/restart_policy.h"
#include "runtime/clock.h"
#include "runtime/status.h"

namespace lynx {

struct ChildSpec {
  std::string name;                  // for messages
  std::vector<std::string> command;  // path and arguments
  Nanos stop_limit{0};               // from SIGTERM to SIGKILL
};

class Supervisor {
 public:
  // `specs`: in the order in which they are to be stopped. `is_ready`: asked again and again until
  // it says yes; may take a fraction of a second. `on_ready`: called once then.
  Supervisor(std::vector<ChildSpec> specs, std::function<bool()> is_ready,
             std::function<void()> on_ready);

  // Until all children have ended: OK after a signal. An error names the child that could not be
  // started or ended before it was ready.
  absl::Status Run();

 private:
  struct Child {
    ChildSpec spec;
    std::optional<ChildProcess> process;
    RestartPolicy policy;
    Nanos started_at{0};
    Nanos start_at{0};  // the next start, if there is no process
  };

  absl::Status StartDue();
  absl::Status ReapEnded();
  void StopAll();
  void Stop(Child& child);
  // The next signal; 0 after `limit`.
  int WaitForSignal(Nanos limit) const;

  std::vector<Child> children_;
  const std::function<bool()> is_ready_;
  const std::function<void()> on_ready_;
  const SteadyClock clock_;
  bool ready_ = false;
  bool kill_ = false;  // a second signal came
  sigset_t signals_;
};

}  // namespace lynx
