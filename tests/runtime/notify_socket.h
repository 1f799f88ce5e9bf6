// The service manager's end of sd_notify(3)'s protocol.
#pragma once

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstddef>
#include <cstring>
#include <string>

#include "runtime/unique_fd.h"

namespace lynx {

class NotifySocket {
 public:
  // An abstract socket, whose name holds this process' number, or one at `path`.
  explicit NotifySocket(const std::string& name, const std::string& path = "")
      : address_(path.empty() ? "@" + name + "-" + std::to_string(::getpid()) : path),
        fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un own{};
    own.sun_family = AF_UNIX;
    REQUIRE(address_.size() < sizeof own.sun_path);
    std::memcpy(own.sun_path, address_.data(), address_.size());
    if (path.empty()) own.sun_path[0] = '\0';
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_.size());
    REQUIRE(::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&own), length) == 0);
    const timeval limit{.tv_sec = 60, .tv_usec = 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }

  const std::string& address() const { return address_; }

  // The next message; fails the test after a minute.
  std::string Receive() const {
    char buffer[4096];
    const ssize_t got = ::recv(fd_.get(), buffer, sizeof buffer, 0);
    REQUIRE(got > 0);
    return std::string(buffer, static_cast<size_t>(got));
  }
  // The next message that holds `text`.
  std::string ReceiveUntil(const std::string& text) const {
    for (;;) {
      std::string message = Receive();
      if (message.find(text) != std::string::npos) return message;
    }
  }

 private:
  const std::string address_;
  const UniqueFd fd_;
};

}  // namespace lynx
