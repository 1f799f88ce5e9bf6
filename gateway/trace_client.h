// Asks servers for their part of a request's trace.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/client_contexts.h"
#include "proto/lynx.pb.h"

namespace grpc {
class Channel;
}

namespace lynx {

enum class TracedRole { kDecode, kPrefill };

// One server, over a connection of its own: it is rarely asked, and may have left the pool. Must
// not go in the callback of its own question, for whose end it waits.
class TraceClient {
 public:
  TraceClient(TracedRole role, const std::string& address);

  // Does not block; `done` is called once, from any thread, perhaps before this returns.
  void Ask(const std::string& request_id, absl::Duration timeout,
           std::function<void(absl::StatusOr<v1::TraceReply>)> done);

 private:
  const TracedRole role_;
  const std::shared_ptr<grpc::Channel> channel_;
  ClientContexts contexts_;  // goes before the channel
};

}  // namespace lynx
