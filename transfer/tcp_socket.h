// Sockets of the data plane: opening them, and the options that keep their queues short.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/status.h"
#include "runtime/unique_fd.h"
#include "transfer/block.h"
#include "transfer/tcp_options.h"

namespace lynx {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
};

// May wait for a name server. UNAVAILABLE with the name.
absl::StatusOr<std::vector<SocketAddress>> ResolveHost(const std::string& host, uint16_t port);
// Addresses such as 10.0.0.1 or ::1 only: never waits.
absl::StatusOr<std::vector<SocketAddress>> ResolveNumericHost(const std::string& host,
                                                              uint16_t port);

// All sockets are non-blocking and closed on exec.
absl::StatusOr<UniqueFd> ListenTcp(const std::string& host, uint16_t port);
absl::StatusOr<uint16_t> LocalPort(int fd);
// Under way when it returns: writable once it is decided, then see ConnectResult.
absl::StatusOr<UniqueFd> StartConnect(const SocketAddress& address);
absl::Status ConnectResult(int fd);

// No delay, a short unsent queue, keepalive and user timeout.
absl::Status SetDataOptions(int fd, const TcpOptions& options);
// DSCP by stream: best effort, a kernel or container may forbid it.
void MarkStream(int fd, Stream stream, const TcpOptions& options);

struct TcpState {
  uint64_t unacked_bytes = 0;         // written, and not acknowledged by the peer
  uint64_t delivery_bytes_per_s = 0;  // 0: not known yet
  Nanos min_rtt{0};
};
TcpState QueryTcp(int fd);
uint64_t UnackedBytes(int fd);

}  // namespace lynx
