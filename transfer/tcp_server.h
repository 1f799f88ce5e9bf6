// The sending end of TCP: listens on the data port of a prefill server. Decode servers dial it,
// twice each.
//
// One I/O thread. Strangers (garbage, a wrong ticket, silence) are closed and counted and never
// reach the sender.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "runtime/clock.h"
#include "runtime/status.h"
#include "transfer/block.h"
#include "transfer/channel.h"
#include "transfer/tcp_options.h"
#include "transfer/ticket.h"

namespace lynx {

struct TcpServerOptions {
  TcpOptions tcp;
  std::string listen_host = "127.0.0.1";  // an address; "::" or "0.0.0.0" for all
  uint16_t port = 0;                      // 0: any
  uint64_t incarnation = 0;               // this process' (RandomIncarnation()), not 0
  Nanos ticket_lifetime = std::chrono::seconds(30);
  size_t max_sessions = 256;
  // Accepted connections that have not presented a ticket yet; more are closed at once.
  size_t max_unknown_connections = 64;
  // A connection that moved nothing for this long does not hold up other peers' Residuals.
  Nanos stalled_after = std::chrono::milliseconds(20);
};

struct TcpServerStats {
  uint64_t accepted = 0;           // connections
  uint64_t refused_strangers = 0;  // garbage, or nothing in time
  uint64_t refused_tickets = 0;    // unknown, expired, used, other incarnation or version
  uint64_t refused_overload = 0;   // too many unknown connections
  uint64_t sessions_lost = 0;
  int64_t sessions_up = 0;
  int64_t sessions_pending = 0;
};

class TcpServer {
 public:
  // `source` (the Sender) must outlive it. INVALID_ARGUMENT, or UNAVAILABLE with the address if it
  // cannot listen.
  static absl::StatusOr<std::unique_ptr<TcpServer>> Start(const TcpServerOptions& options,
                                                          FrameSource* source);
  // Closes everything and joins the I/O thread; sessions that were up are reported down.
  virtual ~TcpServer() = default;

  // Any thread.
  virtual uint16_t port() const = 0;
  // For a Join: RESOURCE_EXHAUSTED if there are too many sessions. A session whose connections do
  // not come within ticket_lifetime goes down.
  virtual absl::StatusOr<IssuedTicket> IssueTicket(uint64_t peer_incarnation) = 0;
  virtual absl::StatusOr<SessionId> FindSession(const Ticket& ticket) const = 0;
  virtual void CloseSession(SessionId session) = 0;
  virtual TcpServerStats stats() const = 0;
};

}  // namespace lynx
