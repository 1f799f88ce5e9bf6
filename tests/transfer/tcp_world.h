// Real sockets on loopback for tests: both ends, a bare socket that plays a broken peer, and
// waiting for a condition.
#pragma once

#include <arpa/inet.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>

#include "tests/transfer/world.h"
#include "transfer/tcp_client.h"
#include "transfer/tcp_server.h"
#include "transfer/tcp_socket.h"

namespace lynx {

inline constexpr uint64_t kSenderIncarnation = 101;
inline constexpr uint64_t kReceiverIncarnation = 202;

// Counts wake-ups; Await re-checks a condition after each of them, and now and then for what wakes
// nobody. Standard primitives: the thread sanitizer sees into them.
class Waker {
 public:
  std::function<void()> callback() {
    return [this] {
      std::lock_guard<std::mutex> lock(mu_);
      ++wakes_;
      woken_.notify_one();
    };
  }
  // Fails the test if the condition does not come true: the limit only ends a broken run.
  void Await(const std::function<bool()>& condition) {
    auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!condition()) {
      REQUIRE(std::chrono::steady_clock::now() < limit);
      std::unique_lock<std::mutex> lock(mu_);
      int64_t seen = wakes_;
      woken_.wait_for(lock, std::chrono::milliseconds(2), [&] { return wakes_ != seen; });
    }
  }

 private:
  std::mutex mu_;
  std::condition_variable woken_;
  int64_t wakes_ = 0;  // guarded by mu_
};

// Both sides join their threads when they go: declare the worlds whose memory they use before them.
struct SenderSide {
  explicit SenderSide(Waker* waker, TcpServerOptions options = {}, SendQueueOptions queue = {})
      : sender(queue, waker->callback()) {
    options.incarnation = kSenderIncarnation;
    auto started = TcpServer::Start(options, &sender);
    REQUIRE(started.ok());
    server = std::move(*started);
  }
  std::vector<SenderEvent> Events() {
    for (SenderEvent& e : sender.PollEvents()) events.push_back(e);
    return events;
  }
  bool Saw(SenderEvent::Type type, SessionId session) {
    for (const SenderEvent& e : Events()) {
      if (e.type == type && e.session == session) return true;
    }
    return false;
  }
  bool SawReleased(const TransferKey& key) {
    for (const SenderEvent& e : Events()) {
      if (e.type == SenderEvent::Type::kReleased && e.transfer == key) return true;
    }
    return false;
  }

  Sender sender;
  std::unique_ptr<TcpServer> server;
  std::vector<SenderEvent> events;
};

struct ReceiverSide {
  explicit ReceiverSide(Waker* waker, TcpClientOptions options = {}) : receiver(waker->callback()) {
    options.incarnation = kReceiverIncarnation;
    auto started = TcpClient::Start(options, &receiver);
    REQUIRE(started.ok());
    client = std::move(*started);
  }
  SessionId Dial(uint16_t port, const Ticket& ticket) {
    auto session = client->Dial({.host = "127.0.0.1",
                                 .port = port,
                                 .ticket = ticket,
                                 .sender_incarnation = kSenderIncarnation});
    REQUIRE(session.ok());
    return *session;
  }
  // The event's status; nullopt: not seen.
  std::optional<absl::Status> Saw(ReceiverEvent::Type type, SessionId session) {
    for (ReceiverEvent& e : receiver.PollEvents()) events.push_back(e);
    for (const ReceiverEvent& e : events) {
      if (e.type == type && e.session == session) return e.status;
    }
    return std::nullopt;
  }
  absl::Status AwaitDown(Waker* waker, SessionId session) {
    waker->Await([&] { return Saw(ReceiverEvent::Type::kSessionDown, session).has_value(); });
    return *Saw(ReceiverEvent::Type::kSessionDown, session);
  }
  void AwaitUp(Waker* waker, SessionId session) {
    waker->Await([&] { return Saw(ReceiverEvent::Type::kSessionUp, session).has_value(); });
  }
  bool TakeUntilComplete(World* world) {
    for (const Completion& c : receiver.PollCompleted()) world->Take(c);
    return world->complete();
  }

  Receiver receiver;
  std::unique_ptr<TcpClient> client;
  std::vector<ReceiverEvent> events;
};

// A blocking socket without manners.
class BareSocket {
 public:
  static BareSocket Connect(uint16_t port) {
    BareSocket s(UniqueFd(::socket(AF_INET, SOCK_STREAM, 0)));
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(s.fd_.get(), reinterpret_cast<sockaddr*>(&a), sizeof(a)) == 0);
    return s;
  }
  explicit BareSocket(UniqueFd fd) : fd_(std::move(fd)) {
    timeval limit{.tv_sec = 20, .tv_usec = 0};  // only ends a broken run
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  }
  void Write(std::span<const std::byte> bytes) {
    REQUIRE(::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(bytes.size()));
  }
  template <size_t N>
  std::array<std::byte, N> Read() {
    std::array<std::byte, N> bytes;
    REQUIRE(::recv(fd_.get(), bytes.data(), N, MSG_WAITALL) == static_cast<ssize_t>(N));
    return bytes;
  }
  // The peer closed, orderly or not, without sending more.
  void ExpectEnd() {
    char c;
    ssize_t n = ::recv(fd_.get(), &c, 1, 0);
    bool ended = n == 0 || (n < 0 && errno == ECONNRESET);
    REQUIRE(ended);
  }
  void Close() { fd_.reset(); }
  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

// Plays a sender: accepts both connections of one session and greets them.
struct BareSender {
  BareSender() : listener(*ListenTcp("127.0.0.1", 0)), port(*LocalPort(listener.get())) {
    int flags = 0;
    ::ioctl(listener.get(), FIONBIO, &flags);
  }
  void Accept() {
    for (int i = 0; i < kStreams; ++i) {
      auto s = std::make_unique<BareSocket>(UniqueFd(::accept(listener.get(), nullptr, nullptr)));
      auto hello = ParseHello(s->Read<kHelloBytes>());
      REQUIRE(hello.ok());
      s->Write(EncodeHelloReply(HelloResult::kAccepted));
      streams[static_cast<int>(hello->stream)] = std::move(s);
    }
  }
  BareSocket& anchor() { return *streams[0]; }

  UniqueFd listener;
  uint16_t port;
  std::unique_ptr<BareSocket> streams[kStreams];
};

}  // namespace lynx
