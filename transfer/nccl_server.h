// The sending end of the NCCL channel: listens for control connections, then sends frames from
// device memory. The counterpart of TcpServer.
//
// One issuing thread makes every NCCL call of the process: at most one NcclServer or NcclClient in
// a process. Blocks that are offered lie in memory of options.nccl.device and are complete there
// (their kernels have ended) when they are offered. Unlike on TCP, the memory of a frame that has
// been announced is not free before its operation has ended: at the latest operation_timeout plus
// abort_timeout later. Payloads carry checksums where the receiver wants them.
#pragma once

#include <memory>

#include "runtime/status.h"
#include "transfer/channel.h"
#include "transfer/data_plane.h"

namespace lynx {

using NcclServerOptions = DataServerOptions;

class NcclServer : public DataServer {
 public:
  // `source` (the Sender) must outlive it. INVALID_ARGUMENT; UNAVAILABLE with the address if it
  // cannot listen; FAILED_PRECONDITION: no device, no NCCL, or one that is too old.
  static absl::StatusOr<std::unique_ptr<NcclServer>> Start(const NcclServerOptions& options,
                                                           FrameSource* source);
};

}  // namespace lynx
