// The data plane against one bare TCP stream, between two processes. On a shaped link
// (bench/transfer_bench.sh) the figures are the link's: how much of it frames and two connections
// leave, and how long an Anchor waits while Residuals flow.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/clock.h"
#include "runtime/status.h"
#include "transfer/send_queue.h"

namespace lynx::bench {

struct TransferBenchOptions {
  uint64_t bytes = 64 << 20;        // of each measurement
  uint64_t block_bytes = 15 << 10;  // SmolLM2-135M's Anchor page at K5V4
  // Our own limit, for a machine whose network cannot be shaped; 0: none.
  uint64_t rate_limit_bytes_per_s = 0;
  int anchors = 50;  // latency samples
  Nanos frame_time = SendQueueOptions().frame_time;
  // Where the sender listens, and the receiver's network namespace (PeerProcess::Fork).
  std::string host = "127.0.0.1";
  std::string receiver_netns;
};

struct TransferBenchResult {
  double bare_bytes_per_s = 0;
  double lynx_bytes_per_s = 0;
  // From the offer of one Anchor block, while Residuals flow, to when its frame began to arrive,
  // and to when the receiver knew that it was complete.
  Nanos anchor_start_p50{0};
  Nanos anchor_start_max{0};
  Nanos anchor_complete_p50{0};
  Nanos anchor_complete_max{0};
};

// Before the process has other threads.
absl::StatusOr<TransferBenchResult> RunTransferBench(const TransferBenchOptions& options);

}  // namespace lynx::bench
