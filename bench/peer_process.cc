#include "bench/peer_process.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdio>
#include <string>

namespace lynx::bench {
namespace {

absl::Status EnterNetwork(const std::string& netns) {
  if (netns.empty()) return absl::OkStatus();
  const UniqueFd fd(::open(netns.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return absl::ErrnoToStatus(errno, absl::StrCat("open ", netns));
  if (::setns(fd.get(), CLONE_NEWNET) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("enter ", netns));
  }
  return absl::OkStatus();
}

[[noreturn]] void RunChild(const std::string& netns, UniqueFd end,
                           const std::function<absl::Status(PeerPipe&)>& main) {
  absl::Status status = EnterNetwork(netns);
  PeerPipe pipe(std::move(end));
  if (status.ok()) status = main(pipe);
  if (!status.ok()) std::fprintf(stderr, "peer: %s\n", std::string(status.message()).c_str());
  ::_exit(status.ok() ? 0 : 1);
}

}  // namespace

absl::Status PeerPipe::SendBytes(const void* data, size_t bytes) {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t n = ::send(fd_.get(), at, bytes, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return absl::UnavailableError("the peer process is gone");
    at += n;
    bytes -= static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

absl::Status PeerPipe::ReceiveBytes(void* data, size_t bytes) {
  char* at = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t n = ::recv(fd_.get(), at, bytes, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return absl::UnavailableError("the peer process is gone");
    at += n;
    bytes -= static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

absl::StatusOr<PeerProcess> PeerProcess::Fork(const std::string& netns,
                                              const std::function<absl::Status(PeerPipe&)>& main) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return absl::ErrnoToStatus(errno, "socketpair");
  }
  UniqueFd ours(ends[0]), theirs(ends[1]);
  const pid_t pid = ::fork();
  if (pid < 0) return absl::ErrnoToStatus(errno, "fork");
  if (pid == 0) {
    ours.reset();
    RunChild(netns, std::move(theirs), main);
  }
  return PeerProcess(pid, PeerPipe(std::move(ours)));
}

PeerProcess::~PeerProcess() {
  if (pid_ == 0) return;
  { const PeerPipe closed = std::move(pipe_); }
  ::waitpid(pid_, nullptr, 0);
}

}  // namespace lynx::bench
