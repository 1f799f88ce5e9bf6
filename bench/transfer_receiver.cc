#include "bench/transfer_receiver.h"

#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "runtime/wakeup.h"
#include "transfer/receiver.h"
#include "transfer/tcp_client.h"
#include "transfer/tcp_socket.h"

namespace lynx::bench {
namespace {

int64_t NowNs() { return SteadyClock().Now().count(); }

absl::StatusOr<UniqueFd> ConnectBlocking(const ReceiveOrder& order) {
  ASSIGN_OR_RETURN(const std::vector<SocketAddress> addresses, ResolveHost(order.host, order.port));
  const SocketAddress& a = addresses.front();
  UniqueFd fd(::socket(a.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&a.storage), a.length) != 0) {
    return absl::ErrnoToStatus(errno, "connect");
  }
  return fd;
}

absl::Status ReceiveBare(const ReceiveOrder& order, PeerPipe& pipe) {
  ASSIGN_OR_RETURN(const UniqueFd in, ConnectBlocking(order));
  RETURN_IF_ERROR(pipe.Send(Arrival{.at_ns = NowNs()}));
  std::vector<char> chunk(256 << 10);
  uint64_t received = 0;
  while (received < order.bytes) {
    const ssize_t n = ::recv(in.get(), chunk.data(), chunk.size(), 0);
    if (n <= 0) return absl::DataLossError("the bare stream broke off");
    received += static_cast<uint64_t>(n);
  }
  return pipe.Send(Arrival{.at_ns = NowNs(), .bytes = received, .end = true});
}

// Notes when frames begin to arrive.
class TimedSink final : public FrameSink {
 public:
  explicit TimedSink(FrameSink& sink) : sink_(sink) {}

  std::unique_ptr<Landing> Begin(SessionId session, const FrameHeader& header) override {
    if (ClassOf(header.kind) == BlockClass::kAnchor) anchor_began_ns_ = NowNs();
    return sink_.Begin(session, header);
  }
  std::unique_ptr<Landing> BeginOnDevice(SessionId session, const FrameHeader& header) override {
    return sink_.BeginOnDevice(session, header);
  }
  void OnBadHeader(SessionId session) override { sink_.OnBadHeader(session); }
  void OnSession(const SessionEvent& event) override { sink_.OnSession(event); }

  int64_t anchor_began_ns() const { return anchor_began_ns_; }  // the last one's

 private:
  FrameSink& sink_;
  std::atomic<int64_t> anchor_began_ns_{0};
};

class Session {
 public:
  Session(const ReceiveOrder& order, PeerPipe& pipe)
      : order_(order),
        pipe_(pipe),
        memory_(order.block_bytes),
        receiver_([this] { wakeup_.Notify(); }),
        sink_(receiver_) {}

  absl::Status Run() {
    TcpClientOptions client;
    client.incarnation = order_.incarnation;
    ASSIGN_OR_RETURN(client_, TcpClient::Start(client, &sink_));
    ASSIGN_OR_RETURN(session_, client_->Dial({.host = order_.host,
                                              .port = order_.port,
                                              .ticket = order_.ticket,
                                              .sender_incarnation = order_.incarnation}));
    RETURN_IF_ERROR(Grant(BlockKind::kAnchorPage, order_.anchor_pages));
    RETURN_IF_ERROR(Grant(BlockKind::kResidualPage, order_.residual_pages));
    while (!ended_) {
      RETURN_IF_ERROR(HandleEvents());
      RETURN_IF_ERROR(TellArrivals());
      if (!ended_) wakeup_.Wait(absl::Milliseconds(100));
    }
    return pipe_.Send(Arrival{.at_ns = NowNs(), .end = true});
  }

 private:
  // All blocks share their memory (one length in all): only movement is measured.
  absl::Status Grant(BlockKind kind, uint32_t pages) {
    if (pages == 0) return absl::OkStatus();
    const auto at = [&](uint32_t, uint32_t) { return memory_.data(); };
    std::vector<GrantRange> ranges;
    ranges.push_back(MakeGrantRange(kind, kBenchLayers, 0, pages, order_.block_bytes, at));
    return receiver_.Grant(BenchTransfer(ClassOf(kind)), session_, std::move(ranges));
  }

  absl::Status HandleEvents() {
    for (const ReceiverEvent& e : receiver_.PollEvents()) {
      if (e.type == ReceiverEvent::Type::kSessionUp) {
        RETURN_IF_ERROR(pipe_.Send(Arrival{.at_ns = NowNs()}));
      }
      ended_ |= e.type == ReceiverEvent::Type::kSessionDown;
    }
    return absl::OkStatus();
  }

  absl::Status TellArrivals() {
    const std::vector<Completion> completed = receiver_.PollCompleted();
    const int64_t now_ns = NowNs();
    for (const Completion& c : completed) {
      RETURN_IF_ERROR(pipe_.Send(Arrival{.at_ns = now_ns,
                                         .began_ns = sink_.anchor_began_ns(),
                                         .block_class = ClassOf(c.kind),
                                         .bytes = c.bytes}));
    }
    return absl::OkStatus();
  }

  const ReceiveOrder& order_;
  PeerPipe& pipe_;
  Wakeup wakeup_;
  std::vector<std::byte> memory_;
  Receiver receiver_;
  TimedSink sink_;
  std::unique_ptr<TcpClient> client_;
  SessionId session_{};
  bool ended_ = false;
};

}  // namespace

absl::Status ReceiveForBench(PeerPipe& pipe) {
  while (true) {
    const absl::StatusOr<ReceiveOrder> order = pipe.Receive<ReceiveOrder>();
    if (!order.ok()) return absl::OkStatus();
    RETURN_IF_ERROR(order->bare ? ReceiveBare(*order, pipe) : Session(*order, pipe).Run());
  }
}

}  // namespace lynx::bench
