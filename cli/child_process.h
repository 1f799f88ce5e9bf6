// A child process that does not outlive this one, whatever way this one ends.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "runtime/status.h"

namespace lynx {

// How a child ended: "exit code 1", "signal 9 (Killed)".
std::string DescribeExit(int wait_status);

// Thread: all children are started and waited for by one thread; the kernel kills them when that
// thread ends (prctl PR_SET_PDEATHSIG).
class ChildProcess {
 public:
  // `command`: path and arguments. The child gets /dev/null as stdin, a process group of its own
  // (a terminal's Ctrl-C reaches only us), and no blocked signals. An executable that cannot be
  // started is an error here.
  static absl::StatusOr<ChildProcess> Start(const std::vector<std::string>& command);
  ~ChildProcess();  // kills and reaps it if it runs
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;

  pid_t pid() const { return pid_; }
  void Signal(int number) const;
  // The wait status if it has ended, once; nothing while it runs.
  std::optional<int> Poll();

 private:
  explicit ChildProcess(pid_t pid) : pid_(pid) {}
  pid_t pid_ = -1;  // -1: ended and reaped
};

}  // namespace lynx
