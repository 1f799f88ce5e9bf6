// A second process for benches that need two ends: forked from this one, if wanted into another
// network namespace, with a pipe of plain structs between them.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <type_traits>

#include "runtime/status.h"
#include "runtime/unique_fd.h"

namespace lynx::bench {

// One end. Blocking; one thread.
class PeerPipe {
 public:
  explicit PeerPipe(UniqueFd fd) : fd_(std::move(fd)) {}

  // UNAVAILABLE: the other end is gone.
  template <typename T>
  absl::Status Send(const T& message) {
    static_assert(std::is_trivially_copyable_v<T>);
    return SendBytes(&message, sizeof message);
  }
  template <typename T>
  absl::StatusOr<T> Receive() {
    static_assert(std::is_trivially_copyable_v<T>);
    T message;
    RETURN_IF_ERROR(ReceiveBytes(&message, sizeof message));
    return message;
  }

 private:
  absl::Status SendBytes(const void* data, size_t bytes);
  absl::Status ReceiveBytes(void* data, size_t bytes);

  UniqueFd fd_;
};

class PeerProcess {
 public:
  // Runs `main` in a child, which ends with it and prints its error. No other thread may run yet.
  // `netns`: a file that names a network namespace (/run/netns/...); empty: this process' own.
  static absl::StatusOr<PeerProcess> Fork(const std::string& netns,
                                          const std::function<absl::Status(PeerPipe&)>& main);
  PeerProcess(PeerProcess&& other) noexcept
      : pid_(std::exchange(other.pid_, 0)), pipe_(std::move(other.pipe_)) {}
  ~PeerProcess();  // closes the pipe and waits for the child

  PeerPipe& pipe() { return pipe_; }

 private:
  PeerProcess(pid_t pid, PeerPipe pipe) : pid_(pid), pipe_(std::move(pipe)) {}

  pid_t pid_;
  PeerPipe pipe_;
};

}  // namespace lynx::bench
