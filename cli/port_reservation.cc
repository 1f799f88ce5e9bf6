#include "cli/port_reservation.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace lynx {
namespace {

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
};

bool Parse(const std::string& host, int64_t port, Address* out) {
  auto* v4 = reinterpret_cast<sockaddr_in*>(&out->storage);
  if (inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(static_cast<uint16_t>(port));
    out->length = sizeof *v4;
    return true;
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&out->storage);
  if (inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) != 1) return false;
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons(static_cast<uint16_t>(port));
  out->length = sizeof *v6;
  return true;
}

int64_t PortOf(const Address& address) {
  if (address.storage.ss_family == AF_INET) {
    return ntohs(reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_port);
  }
  return ntohs(reinterpret_cast<const sockaddr_in6*>(&address.storage)->sin6_port);
}

}  // namespace

absl::StatusOr<PortReservation> PortReservation::Reserve(const std::string& host, int64_t port) {
  Address address;
  if (!Parse(host, port, &address)) {
    return absl::InvalidArgumentError(absl::StrCat("\"", host, "\" is no IP address"));
  }
  UniqueFd fd(socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return absl::UnavailableError(absl::StrCat("socket: ", std::strerror(errno)));
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  auto* raw = reinterpret_cast<sockaddr*>(&address.storage);
  if (bind(fd.get(), raw, address.length) != 0) {
    const char* what = errno == EADDRINUSE ? "is used by another process" : std::strerror(errno);
    return absl::UnavailableError(absl::StrCat("port ", port, " of ", host, ": ", what));
  }
  if (getsockname(fd.get(), raw, &address.length) != 0) {
    return absl::InternalError(absl::StrCat("getsockname: ", std::strerror(errno)));
  }
  return PortReservation(std::move(fd), PortOf(address));
}

}  // namespace lynx
