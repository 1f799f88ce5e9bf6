// The sending end of the NCCL channel: listens for control connections on the data port of a
// prefill server, then sends frames from device memory. The counterpart of TcpServer.
//
// One issuing thread makes every NCCL call of the process: at most one NcclServer or NcclClient in
// a process. Blocks that are offered lie in memory of options.nccl.device and are complete there
// (their kernels have ended) when they are offered. Unlike on TCP, the memory of a frame that has
// been announced is not free before its operation has ended: at the latest operation_timeout plus
// abort_timeout later. Payloads carry no checksum: the CPU does not see them; NVLink, PCIe,
// InfiniBand and TCP have their own.
//
// NCCL is linked, not loaded at will: a program with this channel does not start without
// libnccl.so.2. For machines without NCCL build without LYNX_CUDA=cuda, or use TCP.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "transfer/channel.h"
#include "transfer/nccl_options.h"
#include "transfer/ticket.h"

namespace lynx {

struct NcclServerOptions {
  NcclOptions nccl;
  std::string listen_host = "127.0.0.1";  // an address; "::" or "0.0.0.0" for all
  uint16_t port = 0;                      // 0: any
  uint64_t incarnation = 0;               // this process' (RandomIncarnation()), not 0
  Nanos ticket_lifetime = std::chrono::seconds(30);
  // Tickets that are out, connected or not. Pairs are limited by nccl.max_pairs.
  size_t max_sessions = 256;
  size_t max_unknown_connections = 64;  // accepted, without a ticket yet; more are closed at once
  // A pair whose oldest operation takes longer does not hold up other peers' Residuals.
  Nanos stalled_after = std::chrono::milliseconds(100);
};

struct NcclServerStats {
  uint64_t accepted = 0;           // connections
  uint64_t refused_strangers = 0;  // garbage, or nothing in time
  uint64_t refused_peers = 0;      // ticket, incarnation, NCCL's version, too many pairs
  uint64_t refused_overload = 0;   // too many unknown connections
  uint64_t sessions_lost = 0;
  uint64_t sessions_evicted = 0;  // gave way to another pair
  int64_t sessions_up = 0;
  // Ended, but the device still uses their memory: if this stays above 0, restart the process.
  int64_t sessions_stuck = 0;
};

class NcclServer {
 public:
  // `source` (the Sender) must outlive it. INVALID_ARGUMENT; UNAVAILABLE with the address if it
  // cannot listen; FAILED_PRECONDITION: no device, or an NCCL that is too old.
  static absl::StatusOr<std::unique_ptr<NcclServer>> Start(const NcclServerOptions& options,
                                                           FrameSource* source);
  // Aborts every pair and joins the thread; sessions that were up are reported down.
  virtual ~NcclServer() = default;

  // Any thread.
  virtual uint16_t port() const = 0;
  // For a Join: RESOURCE_EXHAUSTED if there are too many sessions. A session whose connection does
  // not come within ticket_lifetime goes down.
  virtual absl::StatusOr<IssuedTicket> IssueTicket(uint64_t peer_incarnation) = 0;
  virtual absl::StatusOr<SessionId> FindSession(const Ticket& ticket) const = 0;
  // Ends it; what is under way is aborted.
  virtual void CloseSession(SessionId session) = 0;
  virtual NcclServerStats stats() const = 0;
};

}  // namespace lynx
