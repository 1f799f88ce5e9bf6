// Options that both ends of a TCP channel share.
#pragma once

#include <chrono>
#include <cstdint>

#include "runtime/clock.h"
#include "runtime/status.h"

namespace lynx {

struct TcpOptions {
  // Differentiated services code points (0..63) of the two streams: AF41 and LE by default. A
  // network that ignores them loses nothing.
  int anchor_dscp = 34;
  int residual_dscp = 1;
  // Unsent bytes that the kernel may hold for a connection. Smaller: an Anchor waits for less;
  // larger: fewer wake-ups.
  uint32_t notsent_lowat_bytes = 128 << 10;
  // Reading: a kernel buffer for each connection; 0 leaves it to the kernel's own tuning.
  uint32_t receive_buffer_bytes = 0;
  Nanos connect_timeout = std::chrono::seconds(5);    // TCP connect
  Nanos handshake_timeout = std::chrono::seconds(5);  // hello and its reply, from accept or connect
  // A connection in mid-frame that moves no byte for this long is closed...
  Nanos stall_timeout = std::chrono::seconds(10);
  // ...and so is one that needs longer than this for one frame.
  Nanos frame_timeout = std::chrono::seconds(60);
  // TCP keepalive and user timeout: a peer that vanished without a word.
  Nanos dead_peer_timeout = std::chrono::seconds(15);

  absl::Status Validate() const;
};

}  // namespace lynx
