#include "bench/transfer_bench.h"

#include <sys/socket.h>

#include <algorithm>
#include <memory>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "transfer/receiver.h"
#include "transfer/sender.h"
#include "transfer/tcp_client.h"
#include "transfer/tcp_server.h"
#include "transfer/tcp_socket.h"

namespace lynx {
namespace {

constexpr absl::Duration kLimit = absl::Minutes(2);  // for one measurement
constexpr uint32_t kLayers = 8;

double SecondsSince(Nanos start) {
  return std::chrono::duration<double>(SteadyClock().Now() - start).count();
}

// ---- One bare stream
// --------------------------------------------------------------------------------

absl::StatusOr<UniqueFd> ConnectBlocking(uint16_t port) {
  ASSIGN_OR_RETURN(std::vector<SocketAddress> addresses, ResolveHost("127.0.0.1", port));
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const SocketAddress& a = addresses.front();
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&a.storage), a.length) != 0) {
    return absl::ErrnoToStatus(errno, "connect");
  }
  return fd;
}

void SendBare(int fd, uint64_t bytes, uint64_t rate_limit) {
  std::vector<char> chunk(64 << 10);
  Nanos start = SteadyClock().Now();
  for (uint64_t sent = 0; sent < bytes;) {
    if (rate_limit > 0) {
      double due_s = static_cast<double>(sent) / static_cast<double>(rate_limit);
      absl::SleepFor(absl::Seconds(std::max(0.0, due_s - SecondsSince(start))));
    }
    ssize_t n =
        ::send(fd, chunk.data(), std::min<uint64_t>(chunk.size(), bytes - sent), MSG_NOSIGNAL);
    if (n <= 0) return;  // the receiver notices
    sent += static_cast<uint64_t>(n);
  }
}

absl::StatusOr<double> BareRate(const TransferBenchOptions& options) {
  ASSIGN_OR_RETURN(UniqueFd listener, ListenTcp("127.0.0.1", 0));
  ASSIGN_OR_RETURN(uint16_t port, LocalPort(listener.get()));
  ASSIGN_OR_RETURN(UniqueFd out, ConnectBlocking(port));
  UniqueFd in(::accept(listener.get(), nullptr, nullptr));
  if (!in.valid()) return absl::ErrnoToStatus(errno, "accept");
  Nanos start = SteadyClock().Now();
  std::thread sending([&] { SendBare(out.get(), options.bytes, options.rate_limit_bytes_per_s); });
  std::vector<char> chunk(256 << 10);
  uint64_t received = 0;
  while (received < options.bytes) {
    ssize_t n = ::recv(in.get(), chunk.data(), chunk.size(), 0);
    if (n <= 0) break;
    received += static_cast<uint64_t>(n);
  }
  double seconds = SecondsSince(start);
  sending.join();
  if (received < options.bytes) return absl::DataLossError("the bare stream broke off");
  return static_cast<double>(received) / seconds;
}

// ---- The data plane
// ---------------------------------------------------------------------------------

class Pair {
 public:
  explicit Pair(const SendQueueOptions& queue) : sender_(queue), receiver_([this] { Woken(); }) {}

  absl::Status Connect() {
    constexpr uint64_t kIncarnation = 1;
    TcpServerOptions server;
    server.incarnation = kIncarnation;
    ASSIGN_OR_RETURN(server_, TcpServer::Start(server, &sender_));
    TcpClientOptions client;
    client.incarnation = kIncarnation;
    ASSIGN_OR_RETURN(client_, TcpClient::Start(client, &receiver_));
    ASSIGN_OR_RETURN(IssuedTicket ticket, server_->IssueTicket(kIncarnation));
    at_sender_ = ticket.session;
    ASSIGN_OR_RETURN(at_receiver_, client_->Dial({.host = "127.0.0.1",
                                                  .port = server_->port(),
                                                  .ticket = ticket.ticket,
                                                  .sender_incarnation = kIncarnation}));
    return Await([this] { return Up(); });
  }

  // All blocks share their memory at either side (one length in all): only movement is measured.
  absl::Status Begin(uint8_t name, BlockKind kind, uint32_t pages, uint64_t block_bytes) {
    TransferKey key = Key(name);
    memory_.resize(std::max<size_t>(memory_.size(), block_bytes));
    landed_.resize(memory_.size());
    auto at = [&](uint32_t, uint32_t) { return landed_.data(); };
    std::vector<GrantRange> ranges;
    ranges.push_back(MakeGrantRange(kind, kLayers, 0, pages, block_bytes, at));
    RETURN_IF_ERROR(receiver_.Grant(key, at_receiver_, std::move(ranges)));
    RETURN_IF_ERROR(sender_.Begin(key, at_sender_));
    return sender_.Granted(key);
  }

  absl::Status Offer(uint8_t name, BlockKind kind, uint32_t layer, uint32_t first_page,
                     uint32_t pages, uint64_t block_bytes) {
    std::vector<BlockData> blocks;
    for (uint32_t p = first_page; p < first_page + pages; ++p) {
      blocks.push_back({{layer, kind, p}, std::span(memory_).first(block_bytes)});
    }
    return sender_.Offer(Key(name), blocks);
  }

  // Counts what arrived.
  void Take() {
    for (const Completion& c : receiver_.PollCompleted()) {
      bytes_ += c.bytes;
      anchors_ += ClassOf(c.kind) == BlockClass::kAnchor ? c.pages : 0;
    }
  }

  template <typename Condition>
  absl::Status Await(const Condition& condition) {
    absl::Time limit = absl::Now() + kLimit;
    while (true) {
      Take();
      if (condition()) return absl::OkStatus();
      if (absl::Now() > limit)
        return absl::DeadlineExceededError("the data plane made no progress");
      absl::MutexLock lock(&mu_);
      mu_.AwaitWithTimeout(absl::Condition(&woken_), absl::Milliseconds(100));
      woken_ = false;
    }
  }

  uint64_t bytes() const { return bytes_; }
  uint64_t anchors() const { return anchors_; }

 private:
  static TransferKey Key(uint8_t name) {
    TransferKey key;
    key.id.bytes[0] = name;
    return key;
  }
  void Woken() {
    absl::MutexLock lock(&mu_);
    woken_ = true;
  }
  bool Up() {
    for (const ReceiverEvent& e : receiver_.PollEvents()) {
      if (e.type == ReceiverEvent::Type::kSessionUp) return true;
    }
    return false;
  }

  absl::Mutex mu_;
  bool woken_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::byte> memory_;  // what is sent
  std::vector<std::byte> landed_;  // where it goes
  uint64_t bytes_ = 0;
  uint64_t anchors_ = 0;
  Sender sender_;
  Receiver receiver_;
  std::unique_ptr<TcpServer> server_;
  std::unique_ptr<TcpClient> client_;
  SessionId at_sender_{};
  SessionId at_receiver_{};
};

uint32_t PagesFor(uint64_t bytes, uint64_t block_bytes) {
  return static_cast<uint32_t>(std::max<uint64_t>(1, bytes / (block_bytes * kLayers)));
}

SendQueueOptions QueueFor(const TransferBenchOptions& options) {
  SendQueueOptions queue;
  queue.rate_limit_bytes_per_s = options.rate_limit_bytes_per_s;
  // Many small Anchors against one endless Residual: its patience would end within the measurement.
  queue.residual_max_wait = std::chrono::hours(1);
  return queue;
}

// Half of the bytes as Anchors, half as Residuals, as a transfer has them.
absl::StatusOr<double> LynxRate(const TransferBenchOptions& options) {
  Pair pair(QueueFor(options));
  RETURN_IF_ERROR(pair.Connect());
  const uint32_t pages = PagesFor(options.bytes / 2, options.block_bytes);
  const uint64_t total = 2 * uint64_t{pages} * kLayers * options.block_bytes;
  RETURN_IF_ERROR(pair.Begin(1, BlockKind::kAnchorPage, pages, options.block_bytes));
  RETURN_IF_ERROR(pair.Begin(2, BlockKind::kResidualPage, pages, options.block_bytes));
  Nanos start = SteadyClock().Now();
  for (uint32_t layer = 0; layer < kLayers; ++layer) {
    RETURN_IF_ERROR(pair.Offer(1, BlockKind::kAnchorPage, layer, 0, pages, options.block_bytes));
    RETURN_IF_ERROR(pair.Offer(2, BlockKind::kResidualPage, layer, 0, pages, options.block_bytes));
  }
  RETURN_IF_ERROR(pair.Await([&] { return pair.bytes() == total; }));
  return static_cast<double>(total) / SecondsSince(start);
}

absl::Status AnchorLatency(const TransferBenchOptions& options, double bytes_per_s,
                           TransferBenchResult* result) {
  constexpr double kBetweenAnchorsS = 0.03;
  Pair pair(QueueFor(options));
  RETURN_IF_ERROR(pair.Connect());
  // Enough Residuals to flow all the time.
  const double seconds = kBetweenAnchorsS * (options.anchors + 10);
  const uint64_t residual_bytes = static_cast<uint64_t>(
      std::min(bytes_per_s * seconds * 1.5, static_cast<double>(uint64_t{8} << 30)));
  const uint32_t pages = PagesFor(residual_bytes, options.block_bytes);
  RETURN_IF_ERROR(pair.Begin(1, BlockKind::kResidualPage, pages, options.block_bytes));
  RETURN_IF_ERROR(pair.Begin(2, BlockKind::kAnchorPage, static_cast<uint32_t>(options.anchors),
                             options.block_bytes));
  for (uint32_t layer = 0; layer < kLayers; ++layer) {
    RETURN_IF_ERROR(pair.Offer(1, BlockKind::kResidualPage, layer, 0, pages, options.block_bytes));
  }
  RETURN_IF_ERROR(pair.Await([&] { return pair.bytes() > 10 * options.block_bytes; }));
  std::vector<Nanos> latency;
  for (int i = 0; i < options.anchors; ++i) {
    absl::SleepFor(absl::Seconds(kBetweenAnchorsS));
    Nanos start = SteadyClock().Now();
    uint64_t before = pair.anchors();
    RETURN_IF_ERROR(
        pair.Offer(2, BlockKind::kAnchorPage, 0, static_cast<uint32_t>(i), 1, options.block_bytes));
    RETURN_IF_ERROR(pair.Await([&] { return pair.anchors() > before; }));
    latency.push_back(SteadyClock().Now() - start);
  }
  std::sort(latency.begin(), latency.end());
  result->anchor_latency_p50 = latency[latency.size() / 2];
  result->anchor_latency_max = latency.back();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TransferBenchResult> RunTransferBench(const TransferBenchOptions& options) {
  if (options.block_bytes == 0 || options.anchors < 1 ||
      options.bytes < 2 * kLayers * options.block_bytes) {
    return absl::InvalidArgumentError("the bench needs at least one block a layer and one anchor");
  }
  TransferBenchResult result;
  ASSIGN_OR_RETURN(result.bare_bytes_per_s, BareRate(options));
  ASSIGN_OR_RETURN(result.lynx_bytes_per_s, LynxRate(options));
  RETURN_IF_ERROR(AnchorLatency(options, result.lynx_bytes_per_s, &result));
  return result;
}

}  // namespace lynx
