// The other end of a channel in a process of its own: this program again, running one hidden test
// case, with which the parent exchanges messages. A mere fork would not do: ThreadSanitizer takes
// the emulated device's fibers for threads, and ends a fork of a process with threads that starts
// one.
#pragma once

#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <string>
#include <type_traits>
#include <utility>

#include "runtime/unique_fd.h"
#include "transfer/ticket.h"

namespace lynx {

// Where a receiver finds its sender.
struct Meeting {
  uint16_t port = 0;
  Ticket ticket{};
};

// Between parent and child. What cannot be sent or does not come fails the test.
class PeerLink {
 public:
  explicit PeerLink(UniqueFd fd) : fd_(std::move(fd)) {}

  // A message is whole; the other side hears the same type.
  template <typename T>
  void Tell(const T& message) const {
    static_assert(std::is_trivially_copyable_v<T>);
    REQUIRE(::send(fd_.get(), &message, sizeof(T), MSG_NOSIGNAL) == ssize_t{sizeof(T)});
  }
  template <typename T>
  T Hear() const {
    static_assert(std::is_trivially_copyable_v<T>);
    pollfd ready{fd_.get(), POLLIN, 0};
    REQUIRE(::poll(&ready, 1, 60000) == 1);  // only ends a broken run
    T message;
    REQUIRE(::recv(fd_.get(), &message, sizeof(T), 0) == ssize_t{sizeof(T)});
    return message;
  }

 private:
  UniqueFd fd_;
};

class PeerProcess {
 public:
  explicit PeerProcess(std::string test_case) : PeerProcess(std::move(test_case), Open()) {}
  ~PeerProcess() { Kill(); }
  PeerProcess(const PeerProcess&) = delete;

  // For the test case in the child.
  static PeerLink ToParent() {
    ::alarm(120);  // only ends a broken run
    return PeerLink(UniqueFd(STDIN_FILENO));
  }

  const PeerLink& link() const { return link_; }
  void Kill() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    (void)AwaitEnd();
  }
  int AwaitEnd() {
    int status = -1;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return status;
  }

 private:
  struct Ends {
    UniqueFd ours, theirs;
  };
  static Ends Open() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    return {UniqueFd(ends[0]), UniqueFd(ends[1])};
  }
  PeerProcess(std::string test_case, Ends ends) : link_(std::move(ends.ours)) {
    posix_spawn_file_actions_t actions;
    REQUIRE(::posix_spawn_file_actions_init(&actions) == 0);
    REQUIRE(::posix_spawn_file_actions_adddup2(&actions, ends.theirs.get(), STDIN_FILENO) == 0);
    std::string self = "/proc/self/exe";
    char* arguments[] = {self.data(), test_case.data(), nullptr};
    const int error = ::posix_spawn(&pid_, self.c_str(), &actions, nullptr, arguments, environ);
    ::posix_spawn_file_actions_destroy(&actions);
    REQUIRE(error == 0);
  }

  PeerLink link_;
  pid_t pid_ = -1;
};

}  // namespace lynx
