// `lynx up`: which processes are started and how their configurations fit together.
#pragma once

#include <string>
#include <vector>

#include "cli/port_reservation.h"
#include "cli/supervisor.h"
#include "config/load.h"
#include "runtime/status.h"

namespace lynx {

struct UpPlan {
  std::vector<ChildSpec> children;  // in the order in which they are stopped
  std::string host;                 // where the gateway is reached from this machine
  int64_t port = 0;
  std::string note;                    // for the user, on what was decided for them; may be empty
  std::vector<PortReservation> ports;  // to be held as long as the children may be restarted
};

// `program_folder` holds lynx-gateway, lynx-decode and lynx-prefill; `config_file` (may be empty)
// and `flags` are what `loaded` was made from and are handed on. The services between the processes
// stay on loopback; their ports are the configured ones, or free ones if none is configured.
// UNAVAILABLE: a configured port is taken. INVALID_ARGUMENT: transfer.channel is nccl and both
// roles share a GPU, which NCCL refuses; where it is auto, they use TCP.
absl::StatusOr<UpPlan> MakeUpPlan(const LoadedConfig& loaded, const std::string& config_file,
                                  const std::vector<std::string>& flags,
                                  const std::string& program_folder);

}  // namespace lynx
