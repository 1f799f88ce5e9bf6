// A TCP port that stays ours until a child listens on it, and again when a new child does.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/status.h"
#include "runtime/unique_fd.h"

namespace lynx {

// Holds the port with a socket that is bound (SO_REUSEADDR) and never listens: the kernel gives it
// to nobody who asks for any port, while a child that names it and sets SO_REUSEADDR too, as all
// our servers do, can listen on it.
class PortReservation {
 public:
  // `host`: an IPv4 or IPv6 address. port 0: any free one. UNAVAILABLE: somebody listens on it;
  // INVALID_ARGUMENT: no address of this machine.
  static absl::StatusOr<PortReservation> Reserve(const std::string& host, int64_t port);

  int64_t port() const { return port_; }

 private:
  PortReservation(UniqueFd fd, int64_t port) : fd_(std::move(fd)), port_(port) {}
  UniqueFd fd_;
  int64_t port_ = 0;
};

}  // namespace lynx
