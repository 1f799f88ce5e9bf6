// The receiving end of the NCCL channel: dials the data ports of prefill servers; frames land in
// granted device memory. The counterpart of TcpClient.
//
// One issuing thread makes every NCCL call of the process: at most one NcclServer or NcclClient in
// a process. Granted memory is memory of options.nccl.device; it may be written from the grant
// until the transfer's end (Receiver says when it is safe), so kernels that used it before have
// ended. A block's completion is published when the device has written it: kernels launched after
// that see it on any stream.
#pragma once

#include <memory>

#include "runtime/status.h"
#include "transfer/channel.h"
#include "transfer/data_plane.h"

namespace lynx {

using NcclClientOptions = DataClientOptions;

class NcclClient : public DataClient {
 public:
  // `sink` (the Receiver) must outlive it. Errors as NcclServer::Start.
  static absl::StatusOr<std::unique_ptr<NcclClient>> Start(const NcclClientOptions& options,
                                                           FrameSink* sink);
};

}  // namespace lynx
