// The receiving end of TCP: a decode server dials the data ports of prefill servers.
//
// One I/O thread for all sessions; it reads straight into granted memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/status.h"
#include "transfer/block.h"
#include "transfer/channel.h"
#include "transfer/tcp_options.h"
#include "transfer/tcp_socket.h"

namespace lynx {

struct TcpClientOptions {
  TcpOptions tcp;
  uint64_t incarnation = 0;  // this process' (RandomIncarnation()), not 0
  size_t max_sessions = 256;
};

struct DialRequest {
  std::string host;  // a name or an address; a name is resolved, which may wait
  uint16_t port = 0;
  std::vector<SocketAddress> addresses{};  // instead of host and port: nothing waits
  Ticket ticket{};
  uint64_t sender_incarnation = 0;  // as the join told it
};

class TcpClient {
 public:
  // `sink` (the Receiver) must outlive it.
  static absl::StatusOr<std::unique_ptr<TcpClient>> Start(const TcpClientOptions& options,
                                                          FrameSink* sink);
  // Closes everything and joins the I/O thread; sessions that exist are reported down.
  virtual ~TcpClient() = default;

  // Any thread. Resolves the name, if there is one, then dials both streams in the background: a
  // session event, up or down, follows within connect and handshake timeouts. RESOURCE_EXHAUSTED,
  // INVALID_ARGUMENT, UNAVAILABLE (unknown host).
  virtual absl::StatusOr<SessionId> Dial(const DialRequest& request) = 0;
  virtual void CloseSession(SessionId session) = 0;
};

}  // namespace lynx
