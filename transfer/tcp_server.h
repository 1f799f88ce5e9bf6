// The sending end of TCP: decode servers dial it twice each, once a stream.
#pragma once

#include <memory>

#include "runtime/status.h"
#include "transfer/channel.h"
#include "transfer/data_plane.h"

namespace lynx {

using TcpServerOptions = DataServerOptions;

class TcpServer : public DataServer {
 public:
  // `source` (the Sender) must outlive it. INVALID_ARGUMENT, or UNAVAILABLE with the address if it
  // cannot listen.
  static absl::StatusOr<std::unique_ptr<TcpServer>> Start(const TcpServerOptions& options,
                                                          FrameSource* source);
};

}  // namespace lynx
