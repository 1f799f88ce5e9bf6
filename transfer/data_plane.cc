#include "transfer/data_plane.h"

namespace lynx {

std::string_view ChannelName(ChannelKind kind) {
  return kind == ChannelKind::kNccl ? "nccl" : "tcp";
}

absl::Status DataServerOptions::Validate() const {
  RETURN_IF_ERROR(tcp.Validate());
  RETURN_IF_ERROR(nccl.Validate());
  if (incarnation == 0) return absl::InvalidArgumentError("incarnation 0 is not valid");
  if (ticket_lifetime <= Nanos(0) || stalled_after <= Nanos(0)) {
    return absl::InvalidArgumentError("ticket_lifetime and stalled_after must be positive");
  }
  if (max_sessions == 0 || max_unknown_connections == 0) {
    return absl::InvalidArgumentError("limits on sessions and connections must be positive");
  }
  return absl::OkStatus();
}

absl::Status DataClientOptions::Validate() const {
  RETURN_IF_ERROR(tcp.Validate());
  RETURN_IF_ERROR(nccl.Validate());
  if (incarnation == 0) return absl::InvalidArgumentError("incarnation 0 is not valid");
  if (max_sessions == 0) return absl::InvalidArgumentError("max_sessions must be positive");
  return absl::OkStatus();
}

}  // namespace lynx
