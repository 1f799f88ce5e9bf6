// A channel moves frames from a FrameSource (Sender) to a FrameSink (Receiver), possibly in another
// process. tcp_server and tcp_client are the two ends of one kind, nccl_server and nccl_client of
// another, sim_link both ends of a third.
// Channels know connections, framing and checksums; sources and sinks know transfers and memory.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "absl/functional/function_ref.h"
#include "runtime/clock.h"
#include "runtime/status.h"
#include "transfer/block.h"
#include "transfer/frame.h"
#include "transfer/send_queue.h"

namespace lynx {

// A change of a session, told to the engine once. Down is final: a session never comes back, a new
// one is joined.
struct SessionEvent {
  SessionId session{};
  bool up = false;        // both connections are open
  absl::Status status{};  // why it is down
};

// Called by one channel, from its I/O thread; every function returns without waiting.
class FrameSource {
 public:
  virtual ~FrameSource() = default;
  virtual SendPick NextFrame(Nanos now,
                             absl::FunctionRef<Readiness(SessionId, Stream)> readiness) = 0;
  virtual void FrameWritten(FrameId id) = 0;    // its memory is free
  virtual void FrameDelivered(FrameId id) = 0;  // it left, or its connection is gone
  // True: the owner wants the frame's memory back; copy what is unwritten and call FrameWritten.
  virtual bool FrameMemoryWanted(FrameId id) = 0;
  virtual void SetLinkRate(SessionId session, uint64_t bytes_per_s) = 0;
  virtual void OnSession(const SessionEvent& event) = 0;
  // Called whenever there may be a new frame, or memory is wanted; any thread, must be cheap.
  // nullptr: none.
  virtual void SetChannelWake(std::function<void()> wake) = 0;
};

// Where a frame's payload goes. Owned by the channel's connection; used by its I/O thread only.
// Destroying it before Finish gives the frame up.
class Landing {
 public:
  virtual ~Landing() = default;
  // Where the next bytes go: fills `iov`, returns how many entries. Memory may be written until
  // Commit. 0: complete.
  virtual size_t Prepare(std::span<iovec> iov) = 0;
  // `bytes` of what Prepare named were written; takes them into the checksum.
  virtual void Commit(size_t bytes) = 0;
  virtual uint64_t remaining() const = 0;
  // All bytes are in: publishes the blocks, or drops them if the checksum is wrong.
  virtual void Finish() = 0;
  // All bytes are in, and the channel, which hashed them itself, found them wrong: drops the
  // blocks.
  virtual void FinishDamaged() = 0;
};

// Called by the channels' I/O threads.
class FrameSink {
 public:
  virtual ~FrameSink() = default;
  // Never null: a frame that is not wanted gets a landing that drains it.
  virtual std::unique_ptr<Landing> Begin(SessionId session, const FrameHeader& header) = 0;
  // As Begin, for a channel that writes device memory without passing the CPU: the channel vouches
  // for the bytes (or finishes them as damaged), nothing is hashed. Prepare names one entry for
  // each block; a drained one has a null base, and the channel a place of its own for it.
  virtual std::unique_ptr<Landing> BeginOnDevice(SessionId session, const FrameHeader& header) = 0;
  // A header that broke a rule or came damaged; the channel closes the session.
  virtual void OnBadHeader(SessionId session) = 0;
  virtual void OnSession(const SessionEvent& event) = 0;
};

}  // namespace lynx
