#include "transfer/open_data_plane.h"

#include "transfer/nccl_api.h"
#include "transfer/nccl_client.h"
#include "transfer/nccl_server.h"
#include "transfer/tcp_client.h"
#include "transfer/tcp_server.h"

namespace lynx {

absl::Status CheckNccl() { return LoadNccl().status(); }

absl::StatusOr<std::unique_ptr<DataServer>> OpenDataServer(ChannelKind kind,
                                                           const DataServerOptions& options,
                                                           FrameSource* source) {
  if (kind == ChannelKind::kNccl) return NcclServer::Start(options, source);
  return TcpServer::Start(options, source);
}

absl::StatusOr<std::unique_ptr<DataClient>> OpenDataClient(ChannelKind kind,
                                                           const DataClientOptions& options,
                                                           FrameSink* sink) {
  if (kind == ChannelKind::kNccl) return NcclClient::Start(options, sink);
  return TcpClient::Start(options, sink);
}

}  // namespace lynx
