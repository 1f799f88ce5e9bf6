// The receiving end of the NCCL channel: a decode server dials the data ports of prefill servers;
// frames land in granted device memory. The counterpart of TcpClient, with the same requests.
//
// One issuing thread makes every NCCL call of the process: at most one NcclServer or NcclClient in
// a process. Granted memory is memory of options.nccl.device; it may be written from the grant
// until the transfer's end (Receiver says when it is safe), so kernels that used it before have
// ended. A block's completion is published when the device has written it: kernels launched after
// that see it on any stream.
#pragma once

#include <cstdint>
#include <memory>

#include "transfer/channel.h"
#include "transfer/nccl_options.h"
#include "transfer/tcp_client.h"

namespace lynx {

struct NcclClientOptions {
  NcclOptions nccl;
  uint64_t incarnation = 0;  // this process' (RandomIncarnation()), not 0
};

struct NcclClientStats {
  uint64_t sessions_lost = 0;
  uint64_t sessions_evicted = 0;
  int64_t sessions_up = 0;
  int64_t sessions_stuck = 0;  // as NcclServerStats
};

class NcclClient {
 public:
  // `sink` (the Receiver) must outlive it. Errors as NcclServer::Start.
  static absl::StatusOr<std::unique_ptr<NcclClient>> Start(const NcclClientOptions& options,
                                                           FrameSink* sink);
  // Aborts every pair and joins the thread; sessions that exist are reported down.
  virtual ~NcclClient() = default;

  // Any thread. Resolves the name, if there is one, then dials in the background: a session event,
  // up or down, follows within the connect, handshake and init timeouts. INVALID_ARGUMENT,
  // UNAVAILABLE (unknown host).
  virtual absl::StatusOr<SessionId> Dial(const DialRequest& request) = 0;
  virtual void CloseSession(SessionId session) = 0;
  virtual NcclClientStats stats() const = 0;
};

}  // namespace lynx
