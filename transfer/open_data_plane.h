// Opens the data plane of the configured kind.
#pragma once

#include <memory>

#include "transfer/channel.h"
#include "transfer/data_plane.h"

namespace lynx {

// OK: this process can use NCCL, on a device that is there. FAILED_PRECONDITION says what to do:
// NCCL cannot be loaded, or this build has no NCCL channel.
absl::Status CheckNccl();

// Errors: TcpServer::Start's and NcclServer::Start's, CheckNccl's.
absl::StatusOr<std::unique_ptr<DataServer>> OpenDataServer(ChannelKind kind,
                                                           const DataServerOptions& options,
                                                           FrameSource* source);
absl::StatusOr<std::unique_ptr<DataClient>> OpenDataClient(ChannelKind kind,
                                                           const DataClientOptions& options,
                                                           FrameSink* sink);

}  // namespace lynx
