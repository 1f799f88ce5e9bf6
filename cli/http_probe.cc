#include "cli/http_probe.h"

#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <cstdio>

#include "runtime/unique_fd.h"
#include "transfer/tcp_socket.h"

namespace lynx {
namespace {

UniqueFd Connect(const SocketAddress& address, Nanos timeout) {
  UniqueFd fd(socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return fd;
  const timeval limit{.tv_sec = static_cast<time_t>(timeout.count() / 1'000'000'000),
                      .tv_usec = static_cast<suseconds_t>(timeout.count() / 1000 % 1'000'000)};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);  // of connect too
  const auto* raw = reinterpret_cast<const sockaddr*>(&address.storage);
  if (connect(fd.get(), raw, address.length) != 0) fd.reset();
  return fd;
}

}  // namespace

int HttpGetStatus(const std::string& host, int64_t port, const std::string& path, Nanos timeout) {
  const auto addresses = ResolveHost(host, static_cast<uint16_t>(port));
  if (!addresses.ok() || addresses->empty()) return 0;
  const UniqueFd fd = Connect(addresses->front(), timeout);
  if (!fd.valid()) return 0;
  const std::string request =
      absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: ", host, "\r\nConnection: close\r\n\r\n");
  if (send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(request.size())) {
    return 0;
  }
  std::string head;
  char buffer[64];
  while (head.size() < 12) {  // "HTTP/1.1 200"
    const ssize_t got = recv(fd.get(), buffer, sizeof buffer, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return 0;
    head.append(buffer, static_cast<size_t>(got));
  }
  int code = 0;
  return std::sscanf(head.c_str(), "HTTP/1.%*d %d", &code) == 1 ? code : 0;
}

}  // namespace lynx
