#include "transfer/nccl_options.h"

#include "transfer/frame.h"

namespace lynx {

absl::Status NcclOptions::Validate() const {
  if (device < 0) return absl::InvalidArgumentError("device must not be negative");
  if (anchor_traffic_class < -1 || residual_traffic_class < -1) {
    return absl::InvalidArgumentError("traffic classes are -1 or not negative");
  }
  if (max_ctas < 1 || max_ctas > 64 || channels_per_peer < 1 || channels_per_peer > 64) {
    return absl::InvalidArgumentError("max_ctas and channels_per_peer are 1 to 64");
  }
  if (max_operation_bytes == 0 || max_operation_bytes > kMaxPayloadBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_operation_bytes is 1 to ", kMaxPayloadBytes));
  }
  if (operations_in_flight < 1 || operations_in_flight > 64) {
    return absl::InvalidArgumentError("operations_in_flight is 1 to 64");
  }
  if (max_pairs < 1) return absl::InvalidArgumentError("max_pairs must be at least 1");
  for (Nanos timeout : {poll_interval, evict_idle_after, connect_timeout, handshake_timeout,
                        init_timeout, operation_timeout, abort_timeout, dead_peer_timeout}) {
    if (timeout <= Nanos(0)) return absl::InvalidArgumentError("times must be positive");
  }
  return absl::OkStatus();
}

}  // namespace lynx
