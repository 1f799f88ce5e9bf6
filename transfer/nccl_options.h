// Options that both ends of an NCCL channel share. Both ends should have the same.
#pragma once

#include <chrono>
#include <cstdint>

#include "runtime/clock.h"
#include "runtime/status.h"

namespace lynx {

// Device memory of one pair of communicators: about 50 MB each, of NCCL's buffers as they are by
// default. An estimate, for the check at start: NCCL takes it when a peer comes.
inline constexpr uint64_t kNcclPairBytes = 100'000'000;

struct NcclOptions {
  int device = 0;  // ordinal of the CUDA device whose memory the frames are in

  // ---- the network
  // Service classes of the two communicators on InfiniBand and RoCE (written to SL and TC); -1
  // leaves them to NCCL. The socket transport ignores them. NCCL_IB_SL and NCCL_IB_TC override
  // both.
  int anchor_traffic_class = -1;
  int residual_traffic_class = -1;
  // Thread blocks of one operation: fewer leave more of the device to the model and let an Anchor
  // pass sooner, more are faster.
  int max_ctas = 4;
  int channels_per_peer = 4;  // NCCL's nChannelsPerNetPeer

  // ---- operations
  // A longer one is refused: at least a frame (SendQueueOptions::max_frame_bytes) and the largest
  // block. The receiver keeps a scratch buffer of this size for what it drains.
  uint64_t max_operation_bytes = 16 << 20;
  // Announced and not over, for each stream of a pair. 2 hide the time of announcement and credit;
  // more make an Anchor wait.
  int operations_in_flight = 2;
  // Whether the receiver checks payloads: both ends then hash what lies in device memory. Not
  // needed where the network checks its packets, as NVLink, PCIe, InfiniBand and TCP do.
  bool checksums = false;
  // How often the device is asked while something runs on it.
  Nanos poll_interval = std::chrono::microseconds(50);

  // ---- pairs
  // Each takes kNcclPairBytes. Beyond this the pair that was used the longest ago gives way, if it
  // has been idle for evict_idle_after; else the new one is refused.
  int max_pairs = 8;
  Nanos evict_idle_after = std::chrono::seconds(5);

  // ---- deadlines
  Nanos connect_timeout = std::chrono::seconds(5);
  Nanos handshake_timeout = std::chrono::seconds(5);
  Nanos init_timeout = std::chrono::seconds(60);  // both communicators, and their first operations
  Nanos operation_timeout = std::chrono::seconds(10);  // from announcement to end
  // For revoking; then again for the streams to drain. Memory that the device may still write after
  // that is never given back: the process should be restarted.
  Nanos abort_timeout = std::chrono::seconds(5);
  Nanos dead_peer_timeout = std::chrono::seconds(15);  // of the control connection

  absl::Status Validate() const;
};

}  // namespace lynx
