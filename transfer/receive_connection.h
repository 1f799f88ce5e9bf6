// One dialled TCP connection: connects, presents the ticket, then reads frames straight into
// granted memory. Belongs to the client's I/O thread.
#pragma once

#include <cstdint>
#include <memory>
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

class ReceiveConnection {
 public:
  ReceiveConnection(SessionId session, const Hello& hello, std::vector<SocketAddress> addresses,
                    const TcpOptions& options, FrameSink* sink);

  // Begins to connect to the next address; fd() is then a new one. UNAVAILABLE if none is left.
  absl::Status ConnectNext(Nanos now);
  int fd() const { return fd_.get(); }
  uint32_t wanted_events() const;
  bool open() const { return state_ == State::kOpen; }

  // What epoll reported. Any error ends the session, but for a refused connect, after which more
  // addresses may be tried.
  absl::Status OnEvents(Nanos now);
  bool may_try_next() const {
    return state_ == State::kConnecting && next_address_ < addresses_.size();
  }

  // When it is too late, and what to say then; nullopt: nothing is awaited.
  std::optional<Nanos> Deadline() const;
  absl::Status Overdue() const;

 private:
  enum class State { kConnecting, kGreeting, kOpen };

  absl::Status Greet(Nanos now);
  absl::Status ReadReply();
  absl::Status ReadFrames(Nanos now);
  absl::StatusOr<bool> ReadHeader(Nanos now);  // false: no more bytes for now
  absl::StatusOr<bool> ReadPayload(Nanos now);
  absl::StatusOr<size_t> Receive(iovec* iov, size_t count);  // 0: no more bytes for now
  void EndFrame();

  const SessionId session_;
  const Hello hello_;
  const std::vector<SocketAddress> addresses_;
  const TcpOptions options_;
  FrameSink* const sink_;

  UniqueFd fd_;
  State state_ = State::kConnecting;
  size_t next_address_ = 0;
  std::optional<Nanos> connect_deadline_;
  Nanos greeting_deadline_{0};

  ReplyBytes reply_{};
  FrameHeaderBytes header_{};
  size_t received_ = 0;  // of reply_ or header_
  std::unique_ptr<Landing> landing_;
  Nanos frame_started_{0};
  Nanos last_progress_{0};
};

}  // namespace lynx
