// Both ends of a simulated channel in one thread: frames go from a FrameSource to a FrameSink over
// links whose delay, rate and faults are chosen. Everything follows from the options, the seed and
// the clock.
//
// The owner's loop: Step() handles all that is due at clock.Now(); NextEventAt() says when to call
// again (a ManualClock is moved there, a real clock is waited for).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "runtime/clock.h"
#include "transfer/channel.h"

namespace lynx {

struct SimFaults {
  // Chances for each frame, 0 to 1.
  double lose = 0;
  double duplicate = 0;  // delivered twice
  double corrupt = 0;    // one bit flips; only of the header where no payload is checked
  double reorder = 0;    // held back by up to reorder_delay
  double cut = 0;        // the session ends in the middle of this frame
  Nanos reorder_delay = std::chrono::milliseconds(20);
};

using SimDeviceCopy = std::function<void(std::byte* to, const std::byte* from, size_t bytes)>;

struct SimLinkOptions {
  uint64_t bytes_per_s = 0;  // one link, shared by both streams and all sessions; 0: no limit
  Nanos delay{0};            // one way
  SimFaults faults;
  uint64_t seed = 0;
  // Moves bytes between the host and memory of devices: frames go from device memory to device
  // memory (FrameSink::BeginOnDevice). Null: they go from host memory to host memory.
  SimDeviceCopy device_copy{};
};

struct SimLinkStats {
  uint64_t frames = 0;
  uint64_t bytes = 0;  // headers included
  uint64_t lost = 0;
  uint64_t duplicated = 0;
  uint64_t corrupted = 0;
  uint64_t reordered = 0;
  uint64_t cuts = 0;
};

// Not thread-safe; source and sink may be used by other threads meanwhile.
class SimLink {
 public:
  SimLink(const SimLinkOptions& options, const Clock* clock, FrameSource* source, FrameSink* sink);
  ~SimLink();  // sessions are reported down
  SimLink(const SimLink&) = delete;

  // A session that is up at both ends at once, under the same id.
  SessionId Connect();
  // Ends it at both ends; what is on the way is lost, a frame that is landing stays incomplete.
  void Cut(SessionId session);

  void Step();
  // nullopt: nothing will happen until someone offers something.
  std::optional<Nanos> NextEventAt() const;
  const SimLinkStats& stats() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lynx
