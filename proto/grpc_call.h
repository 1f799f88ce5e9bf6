// Between gRPC's types and ours: status (the codes are the same numbers), deadlines.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include <algorithm>
#include <string>

#include "runtime/clock.h"
#include "runtime/status.h"

namespace lynx {

inline grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

inline absl::Status FromGrpc(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

// The call's deadline on our clock; at most `limit` from now, for calls that have none.
inline Nanos CallDeadline(const grpc::CallbackServerContext& context, const Clock& clock,
                          Nanos limit) {
  const auto left = context.deadline() - std::chrono::system_clock::now();
  return clock.Now() + std::min(std::chrono::duration_cast<Nanos>(left), limit);
}

}  // namespace lynx
