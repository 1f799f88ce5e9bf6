#include "transfer/tcp_options.h"

namespace lynx {

absl::Status TcpOptions::Validate() const {
  for (int dscp : {anchor_dscp, residual_dscp}) {
    if (dscp < 0 || dscp > 63) {
      return absl::InvalidArgumentError(absl::StrCat("DSCP ", dscp, " is not in 0..63"));
    }
  }
  if (notsent_lowat_bytes == 0) {
    return absl::InvalidArgumentError("notsent_lowat_bytes must be positive");
  }
  for (Nanos timeout :
       {connect_timeout, handshake_timeout, stall_timeout, frame_timeout, dead_peer_timeout}) {
    if (timeout <= Nanos(0)) return absl::InvalidArgumentError("timeouts must be positive");
  }
  return absl::OkStatus();
}

}  // namespace lynx
