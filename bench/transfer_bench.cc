#include "bench/transfer_bench.h"

#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "bench/transfer_receiver.h"
#include "transfer/sender.h"
#include "transfer/tcp_server.h"
#include "transfer/tcp_socket.h"

namespace lynx::bench {
namespace {

constexpr uint64_t kIncarnation = 1;
constexpr double kBetweenAnchorsS = 0.03;
constexpr uint64_t kResidualBytesMax = uint64_t{4} << 30;

Nanos Now() { return SteadyClock().Now(); }
double Seconds(Nanos t) { return std::chrono::duration<double>(t).count(); }

ReceiveOrder MakeOrder(const TransferBenchOptions& options, uint16_t port) {
  ReceiveOrder order{.port = port, .block_bytes = options.block_bytes};
  options.host.copy(order.host, sizeof order.host - 1);
  return order;
}

// ---- One bare stream ----

absl::Status SendBare(int fd, uint64_t bytes, uint64_t rate_limit) {
  std::vector<char> chunk(64 << 10);
  const Nanos start = Now();
  for (uint64_t sent = 0; sent < bytes;) {
    if (rate_limit > 0) {
      const double due_s = static_cast<double>(sent) / static_cast<double>(rate_limit);
      absl::SleepFor(absl::Seconds(std::max(0.0, due_s - Seconds(Now() - start))));
    }
    const ssize_t n =
        ::send(fd, chunk.data(), std::min<uint64_t>(chunk.size(), bytes - sent), MSG_NOSIGNAL);
    if (n <= 0) return absl::UnavailableError("the bare stream broke off");
    sent += static_cast<uint64_t>(n);
  }
  return absl::OkStatus();
}

absl::StatusOr<double> BareRate(const TransferBenchOptions& options, PeerPipe& pipe) {
  ASSIGN_OR_RETURN(const UniqueFd listener, ListenTcp(options.host, 0));
  ASSIGN_OR_RETURN(const uint16_t port, LocalPort(listener.get()));
  ReceiveOrder order = MakeOrder(options, port);
  order.bare = true;
  order.bytes = options.bytes;
  RETURN_IF_ERROR(pipe.Send(order));
  ASSIGN_OR_RETURN(const Arrival start, pipe.Receive<Arrival>());
  const UniqueFd out(::accept(listener.get(), nullptr, nullptr));
  if (!out.valid()) return absl::ErrnoToStatus(errno, "accept");
  RETURN_IF_ERROR(SendBare(out.get(), options.bytes, options.rate_limit_bytes_per_s));
  ASSIGN_OR_RETURN(const Arrival end, pipe.Receive<Arrival>());
  return static_cast<double>(end.bytes) / Seconds(Nanos(end.at_ns - start.at_ns));
}

// ---- The data plane ----

// A session to the receiving process, with one transfer of Anchors and one of Residuals.
class SendingEnd {
 public:
  SendingEnd(const TransferBenchOptions& options, PeerPipe& pipe)
      : block_bytes_(options.block_bytes),
        pipe_(pipe),
        block_(options.block_bytes),
        sender_(QueueFor(options)) {}

  ~SendingEnd() {
    server_.reset();
    // What is still told of this session would be taken for the next one's.
    absl::StatusOr<Arrival> left;
    while (ordered_ && (left = pipe_.Receive<Arrival>()).ok() && !left->end) {
    }
  }

  absl::Status Open(const TransferBenchOptions& options, uint32_t anchor_pages,
                    uint32_t residual_pages) {
    TcpServerOptions server;
    server.listen_host = options.host;
    server.incarnation = kIncarnation;
    ASSIGN_OR_RETURN(server_, TcpServer::Start(server, &sender_));
    ASSIGN_OR_RETURN(const IssuedTicket issued, server_->IssueTicket(kIncarnation));
    ReceiveOrder order = MakeOrder(options, server_->port());
    order.ticket = issued.ticket;
    order.incarnation = kIncarnation;
    order.anchor_pages = anchor_pages;
    order.residual_pages = residual_pages;
    RETURN_IF_ERROR(pipe_.Send(order));
    ordered_ = true;
    RETURN_IF_ERROR(pipe_.Receive<Arrival>().status());
    for (BlockClass c : {BlockClass::kAnchor, BlockClass::kResidual}) {
      RETURN_IF_ERROR(sender_.Begin(BenchTransfer(c), issued.session));
      RETURN_IF_ERROR(sender_.Granted(BenchTransfer(c)));
    }
    return absl::OkStatus();
  }

  absl::Status Offer(BlockKind kind, uint32_t layer, uint32_t first_page, uint32_t pages) {
    std::vector<BlockData> blocks;
    for (uint32_t p = first_page; p < first_page + pages; ++p) {
      blocks.push_back({{layer, kind, p}, block_});
    }
    return sender_.Offer(BenchTransfer(ClassOf(kind)), blocks);
  }

  absl::StatusOr<Arrival> NextArrival() {
    ASSIGN_OR_RETURN(const Arrival arrival, pipe_.Receive<Arrival>());
    if (!arrival.end) return arrival;
    ordered_ = false;
    return absl::UnavailableError("the data session ended early");
  }

  uint64_t block_bytes() const { return block_bytes_; }

 private:
  static SendQueueOptions QueueFor(const TransferBenchOptions& options) {
    SendQueueOptions queue;
    queue.rate_limit_bytes_per_s = options.rate_limit_bytes_per_s;
    queue.frame_time = options.frame_time;
    // Many small Anchors against one endless Residual: its patience would end during a measurement.
    queue.residual_max_wait = std::chrono::hours(1);
    return queue;
  }

  const uint64_t block_bytes_;
  PeerPipe& pipe_;
  bool ordered_ = false;  // the receiver will tell an end
  const std::vector<std::byte> block_;
  Sender sender_;
  std::unique_ptr<TcpServer> server_;
};

uint32_t PagesFor(uint64_t bytes, uint64_t block_bytes) {
  return static_cast<uint32_t>(std::max<uint64_t>(1, bytes / (block_bytes * kBenchLayers)));
}

// Half of the bytes as Anchors, half as Residuals, as a transfer has them.
absl::StatusOr<double> LynxRate(const TransferBenchOptions& options, PeerPipe& pipe) {
  const uint32_t pages = PagesFor(options.bytes / 2, options.block_bytes);
  const uint64_t total = 2 * uint64_t{pages} * kBenchLayers * options.block_bytes;
  SendingEnd end(options, pipe);
  RETURN_IF_ERROR(end.Open(options, pages, pages));
  const Nanos start = Now();
  for (uint32_t layer = 0; layer < kBenchLayers; ++layer) {
    RETURN_IF_ERROR(end.Offer(BlockKind::kAnchorPage, layer, 0, pages));
    RETURN_IF_ERROR(end.Offer(BlockKind::kResidualPage, layer, 0, pages));
  }
  Arrival last;
  for (uint64_t arrived = 0; arrived < total; arrived += last.bytes) {
    ASSIGN_OR_RETURN(last, end.NextArrival());
  }
  return static_cast<double>(total) / Seconds(Nanos(last.at_ns) - start);
}

absl::StatusOr<Arrival> AnchorArrival(SendingEnd& end) {
  while (true) {
    ASSIGN_OR_RETURN(const Arrival arrival, end.NextArrival());
    if (arrival.block_class == BlockClass::kAnchor) return arrival;
  }
}

absl::Status AnchorStarts(const TransferBenchOptions& options, PeerPipe& pipe,
                          TransferBenchResult* result) {
  // Enough Residuals to flow all the time.
  const double seconds = kBetweenAnchorsS * (options.anchors + 10);
  const auto residual_bytes = static_cast<uint64_t>(
      std::min(result->bare_bytes_per_s * seconds * 1.5, static_cast<double>(kResidualBytesMax)));
  const uint32_t pages = PagesFor(residual_bytes, options.block_bytes);
  SendingEnd end(options, pipe);
  RETURN_IF_ERROR(end.Open(options, static_cast<uint32_t>(options.anchors), pages));
  for (uint32_t layer = 0; layer < kBenchLayers; ++layer) {
    RETURN_IF_ERROR(end.Offer(BlockKind::kResidualPage, layer, 0, pages));
  }
  RETURN_IF_ERROR(end.NextArrival().status());  // they flow
  std::vector<Nanos> starts, completions;
  for (int i = 0; i < options.anchors; ++i) {
    absl::SleepFor(absl::Seconds(kBetweenAnchorsS));
    const Nanos offered = Now();
    RETURN_IF_ERROR(end.Offer(BlockKind::kAnchorPage, 0, static_cast<uint32_t>(i), 1));
    ASSIGN_OR_RETURN(const Arrival arrival, AnchorArrival(end));
    starts.push_back(Nanos(arrival.began_ns) - offered);
    completions.push_back(Nanos(arrival.at_ns) - offered);
  }
  std::sort(starts.begin(), starts.end());
  std::sort(completions.begin(), completions.end());
  result->anchor_start_p50 = starts[starts.size() / 2];
  result->anchor_start_max = starts.back();
  result->anchor_complete_p50 = completions[completions.size() / 2];
  result->anchor_complete_max = completions.back();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TransferBenchResult> RunTransferBench(const TransferBenchOptions& options) {
  if (options.block_bytes == 0 || options.anchors < 1 ||
      options.bytes < 2 * kBenchLayers * options.block_bytes) {
    return absl::InvalidArgumentError("the bench needs at least one block a layer and one anchor");
  }
  ASSIGN_OR_RETURN(PeerProcess peer, PeerProcess::Fork(options.receiver_netns, ReceiveForBench));
  TransferBenchResult result;
  ASSIGN_OR_RETURN(result.bare_bytes_per_s, BareRate(options, peer.pipe()));
  ASSIGN_OR_RETURN(result.lynx_bytes_per_s, LynxRate(options, peer.pipe()));
  RETURN_IF_ERROR(AnchorStarts(options, peer.pipe(), &result));
  return result;
}

}  // namespace lynx::bench
