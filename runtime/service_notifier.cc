#include "runtime/service_notifier.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

namespace lynx {

namespace {

// A manager that is being restarted leaves its queue full for a moment. Longer, and the message is
// not worth a thread.
constexpr timeval kSendTimeout{.tv_sec = 5, .tv_usec = 0};

}  // namespace

absl::StatusOr<ServiceNotifier> ServiceNotifier::Open(const std::string& address) {
  if (address.size() < 2 || (address[0] != '/' && address[0] != '@')) {
    return absl::InvalidArgumentError(
        absl::StrCat("NOTIFY_SOCKET is neither a path nor an abstract name: ", address));
  }
  if (address.size() >= sizeof(sockaddr_un::sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("NOTIFY_SOCKET is too long: ", address));
  }
  ServiceNotifier notifier;
  notifier.address_ = address;
  if (address[0] == '@') notifier.address_[0] = '\0';
  notifier.socket_ = UniqueFd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!notifier.active()) {
    return absl::UnavailableError(absl::StrCat("socket: ", std::strerror(errno)));
  }
  ::setsockopt(notifier.socket_.get(), SOL_SOCKET, SO_SNDTIMEO, &kSendTimeout, sizeof kSendTimeout);
  return notifier;
}

void ServiceNotifier::Send(const std::string& assignments) const {
  if (!active()) return;
  // Not connected: the manager may be replaced while we run.
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  std::memcpy(to.sun_path, address_.data(), address_.size());
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_.size());
  while (::sendto(socket_.get(), assignments.data(), assignments.size(), MSG_NOSIGNAL,
                  reinterpret_cast<const sockaddr*>(&to), length) < 0 &&
         errno == EINTR) {
  }
}

}  // namespace lynx
