// The data plane against one bare TCP stream, over loopback in one process. On a shaped loopback
// (bench/transfer_bench.sh) the figures are those of a link: how much of it frames and two
// connections leave, and how long an Anchor waits while Residuals flow.
#pragma once

#include <cstdint>

#include "runtime/clock.h"
#include "runtime/status.h"

namespace lynx {

struct TransferBenchOptions {
  uint64_t bytes = 64 << 20;        // of each measurement
  uint64_t block_bytes = 15 << 10;  // SmolLM2-135M's Anchor page at K5V4
  uint64_t rate_limit_bytes_per_s =
      0;             // our own limit, for a machine whose loopback cannot be shaped; 0: none
  int anchors = 50;  // latency samples
};

struct TransferBenchResult {
  double bare_bytes_per_s = 0;
  double lynx_bytes_per_s = 0;
  // From Offer of one Anchor block to its completion at the receiver, while Residuals flow.
  Nanos anchor_latency_p50{0};
  Nanos anchor_latency_max{0};
};

absl::StatusOr<TransferBenchResult> RunTransferBench(const TransferBenchOptions& options);

}  // namespace lynx
