// A client of a metrics server, down to single bytes.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>
#include <string_view>

#include "runtime/unique_fd.h"

namespace lynx {

// Connected to loopback; waits at most a minute for anything.
inline UniqueFd ConnectTo(int port) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(fd.valid());
  const timeval limit{.tv_sec = 60, .tv_usec = 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  return fd;
}

inline void SendText(const UniqueFd& fd, std::string_view text) {
  REQUIRE(::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(text.size()));
}

// Until the other side closes.
inline std::string ReadAll(const UniqueFd& fd) {
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = ::recv(fd.get(), buffer, sizeof buffer, 0)) > 0;) text.append(buffer, n);
  return text;
}

// The whole answer, with its header.
inline std::string HttpGet(int port, const std::string& path, const std::string& method = "GET") {
  const UniqueFd fd = ConnectTo(port);
  SendText(fd, method + " " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
  return ReadAll(fd);
}

}  // namespace lynx
