// Both ends of a channel between processes as servers see them, whatever the channel: TCP or NCCL.
// open_data_plane.h opens one of the configured kind.
//
// A session is one receiver's connection to one sender. The control plane's join hands out its
// ticket; its end is told once, to the FrameSource or FrameSink.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/clock.h"
#include "runtime/status.h"
#include "transfer/block.h"
#include "transfer/nccl_options.h"
#include "transfer/session_uses.h"
#include "transfer/tcp_options.h"
#include "transfer/tcp_socket.h"
#include "transfer/ticket.h"

namespace lynx {

enum class ChannelKind : uint8_t { kTcp, kNccl };
std::string_view ChannelName(ChannelKind kind);  // "tcp", "nccl": also what a join says

struct DataServerOptions {
  TcpOptions tcp{};                       // of TCP alone
  NcclOptions nccl{};                     // of NCCL alone
  std::string listen_host = "127.0.0.1";  // an address; "::" or "0.0.0.0" for all
  uint16_t port = 0;                      // 0: any
  uint64_t incarnation = 0;               // this process' (RandomIncarnation()), not 0
  Nanos ticket_lifetime = std::chrono::seconds(30);
  // Tickets that are out, connected or not. Pairs of NCCL are limited by nccl.max_pairs.
  size_t max_sessions = 256;
  // Accepted connections that have not presented a ticket yet; more are closed at once.
  size_t max_unknown_connections = 64;
  // A session that moved nothing for this long (on NCCL: whose oldest operation has taken longer)
  // does not hold up other peers' Residuals.
  Nanos stalled_after = std::chrono::milliseconds(20);

  absl::Status Validate() const;
};

struct DataServerStats {
  uint64_t accepted = 0;           // connections
  uint64_t refused_strangers = 0;  // garbage, or nothing in time
  // Ticket (unknown, expired, used), incarnation, version; too many pairs.
  uint64_t refused_peers = 0;
  uint64_t refused_overload = 0;  // too many unknown connections
  uint64_t sessions_lost = 0;     // that were up
  uint64_t sessions_evicted = 0;  // gave way to another pair
  int64_t sessions_up = 0;
  int64_t sessions_pending = 0;
  // Ended, but the device still uses their memory: if this stays above 0, restart the process.
  int64_t sessions_stuck = 0;
};

// The sending end: listens on the data port of a prefill server. One I/O thread. Strangers
// (garbage, a wrong ticket, silence) are closed and counted and never reach the sender.
class DataServer {
 public:
  // Close, if that was not done.
  virtual ~DataServer() = default;

  // Any thread.
  virtual uint16_t port() const = 0;
  // For a join: RESOURCE_EXHAUSTED if there are too many sessions. A session whose connections do
  // not come within ticket_lifetime goes down.
  virtual absl::StatusOr<IssuedTicket> IssueTicket(uint64_t peer_incarnation) = 0;
  // The ticket's session, connected or not, which gives way to no other while it is held.
  // NOT_FOUND: none, or it is ending.
  virtual absl::StatusOr<SessionHold> HoldSession(const Ticket& ticket) = 0;
  // Ends it; what is under way is given up.
  virtual void CloseSession(SessionId session) = 0;
  virtual DataServerStats stats() const = 0;

  // Ends everything and joins the thread; sessions that were up are reported down. False: the
  // device, or a library, did not let go in time and may still read the frames' memory: neither
  // that nor this may be destroyed, the process has to end. Owner's thread; once.
  virtual bool Close() = 0;
};

struct DataClientOptions {
  TcpOptions tcp{};
  NcclOptions nccl{};
  uint64_t incarnation = 0;  // this process' (RandomIncarnation()), not 0
  size_t max_sessions = 256;

  absl::Status Validate() const;
};

struct DataClientStats {
  uint64_t sessions_lost = 0;
  uint64_t sessions_evicted = 0;
  int64_t sessions_up = 0;
  int64_t sessions_stuck = 0;  // as DataServerStats
};

struct DialRequest {
  std::string host;  // a name or an address; a name is resolved, which may wait
  uint16_t port = 0;
  std::vector<SocketAddress> addresses{};  // instead of host and port: nothing waits
  Ticket ticket{};
  uint64_t sender_incarnation = 0;  // as the join told it
};

// The receiving end: a decode server dials the data ports of prefill servers. One I/O thread for
// all sessions.
class DataClient {
 public:
  // Close, if that was not done.
  virtual ~DataClient() = default;

  // Any thread. Resolves the name, if there is one, then dials in the background: a session event,
  // up or down, follows within the connect and handshake (and NCCL's init) timeouts.
  // RESOURCE_EXHAUSTED, INVALID_ARGUMENT, UNAVAILABLE (unknown host).
  virtual absl::StatusOr<SessionId> Dial(const DialRequest& request) = 0;
  // While it lives, the session gives way to no other. nullptr: it is ending or has ended.
  virtual SessionHold HoldSession(SessionId session) = 0;
  virtual void CloseSession(SessionId session) = 0;
  virtual DataClientStats stats() const = 0;

  // As DataServer's: false if the device may still write granted memory.
  virtual bool Close() = 0;
};

}  // namespace lynx
