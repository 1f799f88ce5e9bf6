// The data plane of a build without CUDA: TCP alone.
#include "transfer/open_data_plane.h"
#include "transfer/tcp_client.h"
#include "transfer/tcp_server.h"

namespace lynx {

absl::Status CheckNccl() {
  return absl::FailedPreconditionError(
      "this build has no NCCL channel: presets cuda and emulated have it; transfer.channel=tcp "
      "does without it");
}

absl::StatusOr<std::unique_ptr<DataServer>> OpenDataServer(ChannelKind kind,
                                                           const DataServerOptions& options,
                                                           FrameSource* source) {
  if (kind == ChannelKind::kNccl) return CheckNccl();
  return TcpServer::Start(options, source);
}

absl::StatusOr<std::unique_ptr<DataClient>> OpenDataClient(ChannelKind kind,
                                                           const DataClientOptions& options,
                                                           FrameSink* sink) {
  if (kind == ChannelKind::kNccl) return CheckNccl();
  return TcpClient::Start(options, sink);
}

}  // namespace lynx
