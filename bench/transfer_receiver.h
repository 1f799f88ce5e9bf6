// The receiving process of transfer_bench, and what the sending one tells it.
#pragma once

#include <cstdint>

#include "bench/peer_process.h"
#include "runtime/clock.h"
#include "transfer/block.h"
#include "transfer/frame.h"

namespace lynx::bench {

inline constexpr uint32_t kBenchLayers = 8;

// The transfers that a measurement may use, by the kind of their blocks.
inline TransferKey BenchTransfer(BlockClass c) {
  TransferKey key;
  key.id.bytes[0] = static_cast<uint8_t>(c) + 1;
  return key;
}

// One measurement, sender to receiver. The receiver connects to host:port.
struct ReceiveOrder {
  bool bare = false;  // one plain stream of `bytes`; else a session of the data plane
  char host[64] = {};
  uint16_t port = 0;
  uint64_t bytes = 0;  // bare
  Ticket ticket{};
  uint64_t incarnation = 0;  // of either side
  uint64_t block_bytes = 0;
  uint32_t anchor_pages = 0;  // granted, a layer
  uint32_t residual_pages = 0;
};

// Receiver to sender: first one with nothing in it (connected, granted), then one for each
// completion, last one with `end` when the connection is gone. Of a bare stream: at the start and
// the end.
struct Arrival {
  int64_t at_ns = 0;     // both processes run on one machine and read one monotonic clock
  int64_t began_ns = 0;  // when an Anchor's frame header was in
  BlockClass block_class = BlockClass::kAnchor;
  uint64_t bytes = 0;
  bool end = false;
};

// Serves orders until the sender closes the pipe.
absl::Status ReceiveForBench(PeerPipe& pipe);

}  // namespace lynx::bench
