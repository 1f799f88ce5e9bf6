// One open TCP connection that frames are written to. Belongs to the server's I/O thread.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "runtime/clock.h"
#include "runtime/status.h"
#include "runtime/unique_fd.h"
#include "transfer/channel.h"
#include "transfer/frame.h"
#include "transfer/tcp_options.h"
#include "transfer/tcp_socket.h"

namespace lynx {

class SendConnection {
 public:
  SendConnection(UniqueFd fd, Stream stream, const TcpOptions& options, FrameSource* source,
                 Nanos now);
  // Frames that were not written are given up: the source is told.
  ~SendConnection();
  SendConnection(const SendConnection&) = delete;

  int fd() const { return fd_.get(); }
  bool writing() const { return frame_.has_value(); }
  Readiness ReadinessAt(Nanos now, Nanos stalled_after) const;

  // Only if not writing().
  void Start(OutFrame frame, Nanos now);
  // Writes what the kernel takes, straight from the blocks' memory.
  absl::Status Write(Nanos now);
  // If the frame's owner wants its memory back: copies the rest, so that a slow peer holds nobody's
  // pages.
  void ReleaseMemoryIfWanted();
  // Tells the source which frames have left: those that the peer acknowledged, but for what fills
  // the link itself.
  void CheckDelivered();
  bool awaits_delivery() const { return !undelivered_.empty(); }
  // Asks the kernel for the link's rate; 0: not known.
  uint64_t MeasureRate();

  // When the frame in progress is too late; nullopt: nothing in progress.
  std::optional<Nanos> Deadline() const;

 private:
  struct Undelivered {
    uint64_t end_offset = 0;
    FrameId frame{};
  };

  void Advance(size_t bytes);
  void EndFrame();
  void TellWritten();

  const UniqueFd fd_;
  const Stream stream_;
  const TcpOptions options_;
  FrameSource* const source_;

  std::optional<OutFrame> frame_;
  bool memory_told_ = false;  // FrameWritten was called for frame_
  FrameHeaderBytes header_{};
  std::vector<std::byte> copied_;  // the rest of a frame whose memory was given back
  std::vector<iovec> iov_;         // of the frame: header, then blocks
  size_t next_iov_ = 0;            // the entries before it are written
  Nanos frame_started_{0};
  Nanos last_progress_{0};

  uint64_t written_bytes_ = 0;
  uint64_t link_bytes_ = 0;  // bandwidth-delay product, as far as it is known
  std::deque<Undelivered> undelivered_;
};

}  // namespace lynx
