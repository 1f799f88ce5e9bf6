#include "transfer/tcp_socket.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netdb.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

namespace lynx {
namespace {

absl::Status SetInt(int fd, int level, int option, int value, const char* name) {
  if (::setsockopt(fd, level, option, &value, sizeof(value)) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, name);
}

absl::StatusOr<UniqueFd> OpenSocket(int family) {
  UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!fd.valid()) return absl::ErrnoToStatus(errno, "socket");
  return fd;
}

absl::StatusOr<std::vector<SocketAddress>> Resolve(const std::string& host, uint16_t port,
                                                   int flags) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_protocol = IPPROTO_TCP;
  hints.ai_flags = AI_NUMERICSERV | flags;
  addrinfo* found = nullptr;
  int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (error != 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot resolve ", host, ": ", ::gai_strerror(error)));
  }
  std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  std::vector<SocketAddress> addresses;
  for (addrinfo* a = found; a != nullptr; a = a->ai_next) {
    if (a->ai_addrlen > sizeof(sockaddr_storage)) continue;
    SocketAddress& address = addresses.emplace_back();
    std::memcpy(&address.storage, a->ai_addr, a->ai_addrlen);
    address.length = a->ai_addrlen;
  }
  if (addresses.empty()) return absl::UnavailableError(absl::StrCat("no address for ", host));
  return addresses;
}

}  // namespace

absl::StatusOr<std::vector<SocketAddress>> ResolveHost(const std::string& host, uint16_t port) {
  return Resolve(host, port, 0);
}

absl::StatusOr<std::vector<SocketAddress>> ResolveNumericHost(const std::string& host,
                                                              uint16_t port) {
  return Resolve(host, port, AI_NUMERICHOST);
}

absl::StatusOr<UniqueFd> ListenTcp(const std::string& host, uint16_t port) {
  std::string where = absl::StrCat("data port ", host, ":", port);
  absl::StatusOr<std::vector<SocketAddress>> addresses = ResolveHost(host, port);
  if (!addresses.ok()) return Annotate(addresses.status(), where);
  const SocketAddress& address = addresses->front();
  ASSIGN_OR_RETURN(UniqueFd fd, OpenSocket(address.storage.ss_family));
  RETURN_IF_ERROR(SetInt(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"));
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.length) != 0 ||
      ::listen(fd.get(), SOMAXCONN) != 0) {
    return absl::UnavailableError(absl::StrCat(where, ": ", std::strerror(errno)));
  }
  return fd;
}

absl::StatusOr<uint16_t> LocalPort(int fd) {
  SocketAddress address;
  address.length = sizeof(address.storage);
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.length) != 0) {
    return absl::ErrnoToStatus(errno, "getsockname");
  }
  if (address.storage.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<const sockaddr_in6*>(&address.storage)->sin6_port);
  }
  return ntohs(reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_port);
}

absl::StatusOr<UniqueFd> StartConnect(const SocketAddress& address) {
  ASSIGN_OR_RETURN(UniqueFd fd, OpenSocket(address.storage.ss_family));
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.length) !=
          0 &&
      errno != EINPROGRESS) {
    return absl::UnavailableError(absl::StrCat("connect: ", std::strerror(errno)));
  }
  return fd;
}

absl::Status ConnectResult(int fd) {
  int error = 0;
  socklen_t length = sizeof(error);
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) error = errno;
  if (error == 0) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("connect: ", std::strerror(error)));
}

absl::Status SetDataOptions(int fd, const TcpOptions& options) {
  auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(options.dead_peer_timeout);
  // Probes fill the time until the peer counts as dead: a third idle, then one each fifth of the
  // rest.
  int seconds = std::max<int>(3, static_cast<int>(ms.count() / 1000));
  RETURN_IF_ERROR(SetInt(fd, IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY"));
  RETURN_IF_ERROR(SetInt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT,
                         static_cast<int>(options.notsent_lowat_bytes), "TCP_NOTSENT_LOWAT"));
  RETURN_IF_ERROR(SetInt(fd, SOL_SOCKET, SO_KEEPALIVE, 1, "SO_KEEPALIVE"));
  RETURN_IF_ERROR(SetInt(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds / 3, "TCP_KEEPIDLE"));
  RETURN_IF_ERROR(
      SetInt(fd, IPPROTO_TCP, TCP_KEEPINTVL, std::max(1, seconds * 2 / 15), "TCP_KEEPINTVL"));
  RETURN_IF_ERROR(SetInt(fd, IPPROTO_TCP, TCP_KEEPCNT, 5, "TCP_KEEPCNT"));
  RETURN_IF_ERROR(
      SetInt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(ms.count()), "TCP_USER_TIMEOUT"));
  if (options.receive_buffer_bytes > 0) {
    RETURN_IF_ERROR(SetInt(fd, SOL_SOCKET, SO_RCVBUF,
                           static_cast<int>(options.receive_buffer_bytes), "SO_RCVBUF"));
  }
  return absl::OkStatus();
}

void MarkStream(int fd, Stream stream, const TcpOptions& options) {
  int dscp = stream == Stream::kAnchor ? options.anchor_dscp : options.residual_dscp;
  int tos = dscp << 2;  // the two lowest bits are ECN's
  (void)::setsockopt(fd, IPPROTO_IP, IP_TOS, &tos, sizeof(tos));
  (void)::setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
}

uint64_t UnackedBytes(int fd) {
  int bytes = 0;
  if (::ioctl(fd, SIOCOUTQ, &bytes) != 0 || bytes < 0) return 0;
  return static_cast<uint64_t>(bytes);
}

TcpState QueryTcp(int fd) {
  TcpState state{.unacked_bytes = UnackedBytes(fd)};
  tcp_info info{};
  socklen_t length = sizeof(info);
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return state;
  // Older kernels fill less; the rest stays zero, which reads "not known".
  state.delivery_bytes_per_s = info.tcpi_delivery_rate;
  state.min_rtt = std::chrono::microseconds(info.tcpi_min_rtt);
  return state;
}

}  // namespace lynx
