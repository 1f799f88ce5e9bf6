// The receiving end of TCP: dials both streams of each sender and reads straight into granted
// memory.
#pragma once

#include <memory>

#include "runtime/status.h"
#include "transfer/channel.h"
#include "transfer/data_plane.h"

namespace lynx {

using TcpClientOptions = DataClientOptions;

class TcpClient : public DataClient {
 public:
  // `sink` (the Receiver) must outlive it.
  static absl::StatusOr<std::unique_ptr<TcpClient>> Start(const TcpClientOptions& options,
                                                          FrameSink* sink);
};

}  // namespace lynx
