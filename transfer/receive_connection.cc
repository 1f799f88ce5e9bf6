#include "transfer/receive_connection.h"

#include <netinet/tcp.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace lynx {
namespace {

constexpr size_t kMaxIov = 256;
// Then other connections get a turn.
constexpr int kReadsAtOnce = 32;

}  // namespace

ReceiveConnection::ReceiveConnection(SessionId session, const Hello& hello,
                                     std::vector<SocketAddress> addresses,
                                     const TcpOptions& options, FrameSink* sink)
    : session_(session),
      hello_(hello),
      addresses_(std::move(addresses)),
      options_(options),
      sink_(sink) {}

absl::Status ReceiveConnection::ConnectNext(Nanos now) {
  if (!connect_deadline_) connect_deadline_ = now + options_.connect_timeout;
  absl::Status last = absl::UnavailableError("no address to connect to");
  while (next_address_ < addresses_.size()) {
    absl::StatusOr<UniqueFd> fd = StartConnect(addresses_[next_address_++]);
    if (fd.ok()) {
      fd_ = std::move(*fd);
      MarkStream(fd_.get(), hello_.stream, options_);
      return SetDataOptions(fd_.get(), options_);
    }
    last = fd.status();
  }
  return last;
}

uint32_t ReceiveConnection::wanted_events() const {
  return state_ == State::kConnecting ? EPOLLOUT : EPOLLIN;
}

absl::Status ReceiveConnection::OnEvents(Nanos now) {
  switch (state_) {
    case State::kConnecting:
      RETURN_IF_ERROR(ConnectResult(fd_.get()));
      return Greet(now);
    case State::kGreeting:
      return ReadReply();
    case State::kOpen:
      return ReadFrames(now);
  }
  return absl::OkStatus();
}

absl::Status ReceiveConnection::Greet(Nanos now) {
  state_ = State::kGreeting;
  greeting_deadline_ = now + options_.handshake_timeout;
  HelloBytes hello = EncodeHello(hello_);
  // A new connection's buffer takes 64 bytes; if it does not, the connection is already broken.
  ssize_t n = ::send(fd_.get(), hello.data(), hello.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n == static_cast<ssize_t>(hello.size())) return absl::OkStatus();
  return absl::UnavailableError("the greeting could not be sent");
}

absl::StatusOr<size_t> ReceiveConnection::Receive(iovec* iov, size_t count) {
  msghdr message{};
  message.msg_iov = iov;
  message.msg_iovlen = count;
  while (true) {
    ssize_t n = ::recvmsg(fd_.get(), &message, MSG_DONTWAIT);
    if (n > 0) return static_cast<size_t>(n);
    if (n == 0) return absl::UnavailableError("the sender closed the connection");
    if (errno == EAGAIN || errno == EWOULDBLOCK) return size_t{0};
    if (errno != EINTR) {
      return absl::UnavailableError(absl::StrCat("connection lost: ", std::strerror(errno)));
    }
  }
}

absl::Status ReceiveConnection::ReadReply() {
  iovec iov{reply_.data() + received_, reply_.size() - received_};
  ASSIGN_OR_RETURN(size_t n, Receive(&iov, 1));
  received_ += n;
  if (received_ < reply_.size()) return absl::OkStatus();
  received_ = 0;
  RETURN_IF_ERROR(ParseHelloReply(reply_));
  state_ = State::kOpen;
  return absl::OkStatus();
}

absl::Status ReceiveConnection::ReadFrames(Nanos now) {
  for (int i = 0; i < kReadsAtOnce; ++i) {
    ASSIGN_OR_RETURN(bool more, landing_ == nullptr ? ReadHeader(now) : ReadPayload(now));
    if (!more) break;
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> ReceiveConnection::ReadHeader(Nanos now) {
  iovec iov{header_.data() + received_, header_.size() - received_};
  ASSIGN_OR_RETURN(size_t n, Receive(&iov, 1));
  if (n == 0) return false;
  if (received_ == 0) frame_started_ = now;
  last_progress_ = now;
  received_ += n;
  if (received_ < header_.size()) return true;
  received_ = 0;
  absl::StatusOr<FrameHeader> header = ParseFrameHeader(header_);
  if (header.ok() && header->stream != hello_.stream) {
    header = absl::InvalidArgumentError("a frame of the other stream");
  }
  if (!header.ok()) {
    sink_->OnBadHeader(session_);
    return header.status();
  }
  landing_ = sink_->Begin(session_, *header);
  if (landing_->remaining() == 0) EndFrame();
  return true;
}

absl::StatusOr<bool> ReceiveConnection::ReadPayload(Nanos now) {
  iovec iov[kMaxIov];
  size_t count = landing_->Prepare(iov);
  absl::StatusOr<size_t> n = Receive(iov, count);
  landing_->Commit(n.ok() ? *n : 0);
  RETURN_IF_ERROR(n.status());
  if (*n == 0) return false;
  last_progress_ = now;
  if (landing_->remaining() == 0) EndFrame();
  return true;
}

void ReceiveConnection::EndFrame() {
  landing_->Finish();
  landing_.reset();
  // The sender counts Residual frames on the way by what is acknowledged: a delayed acknowledgement
  // would hold it up.
  if (hello_.stream == Stream::kResidual) {
    int on = 1;
    (void)::setsockopt(fd_.get(), IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
  }
}

std::optional<Nanos> ReceiveConnection::Deadline() const {
  if (state_ == State::kConnecting) return connect_deadline_;
  if (state_ == State::kGreeting) return greeting_deadline_;
  if (landing_ == nullptr && received_ == 0) return std::nullopt;
  return std::min(last_progress_ + options_.stall_timeout, frame_started_ + options_.frame_timeout);
}

absl::Status ReceiveConnection::Overdue() const {
  switch (state_) {
    case State::kConnecting:
      return absl::DeadlineExceededError("the sender's data port did not answer");
    case State::kGreeting:
      return absl::DeadlineExceededError("the sender did not answer the greeting");
    case State::kOpen:
      return absl::DeadlineExceededError("the sender fell silent or slow in mid-frame");
  }
  return absl::OkStatus();
}

}  // namespace lynx
