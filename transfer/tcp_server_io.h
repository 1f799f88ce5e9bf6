// TcpServer's implementation: the I/O thread and what it shares with other threads.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "transfer/event_loop.h"
#include "transfer/send_connection.h"
#include "transfer/session_desk.h"
#include "transfer/tcp_server.h"

namespace lynx {

class TcpServerIo final : public TcpServer {
 public:
  TcpServerIo(const TcpServerOptions& options, FrameSource* source, UniqueFd listener,
              uint16_t port, std::unique_ptr<EventLoop> loop);
  ~TcpServerIo() override;
  absl::Status Run();  // starts the thread

  uint16_t port() const override { return port_; }
  absl::StatusOr<IssuedTicket> IssueTicket(uint64_t peer_incarnation) override;
  absl::StatusOr<SessionHold> HoldSession(const Ticket& ticket) override {
    return desk_.HoldSession(ticket);
  }
  void CloseSession(SessionId session) override;
  DataServerStats stats() const override { return desk_.stats(); }
  bool Close() override;

 private:
  // Accepted, but has not presented a ticket.
  struct Unknown {
    UniqueFd fd;
    HelloBytes hello{};
    size_t received = 0;
    Nanos deadline{0};
  };
  struct Session {
    std::unique_ptr<SendConnection> streams[kStreams];
    bool up = false;
    Nanos measure_at{0};
  };

  // The I/O thread's.
  void Loop();
  void Accept();
  void OnHelloBytes(int fd);
  void Greet(std::unique_ptr<Unknown> unknown);
  void Open(UniqueFd fd, const Hello& hello, const TicketRegistry::Admission& admission);
  void OnEvents(SessionId session, Stream stream, uint32_t epoll_events);
  void Stranger(int fd);
  void Down(SessionId session, const absl::Status& why);
  void CloseAsked();
  void EndLate(Nanos now);
  void MeasureRates(Nanos now);
  std::optional<Nanos> Pump();
  bool SendOne(OutFrame frame, Nanos now);
  Readiness ReadinessOf(SessionId session, Stream stream, Nanos now) const;
  std::optional<Nanos> NextWake(Nanos now, std::optional<Nanos> ask_again_at) const;

  const TcpServerOptions options_;
  FrameSource* const source_;
  const uint16_t port_;
  const std::unique_ptr<EventLoop> loop_;
  SessionDesk desk_;
  UniqueFd listener_;
  std::thread thread_;
  std::atomic<bool> stop_{false};

  // The I/O thread's.
  bool accept_paused_ = false;  // until the next round
  absl::flat_hash_map<int, std::unique_ptr<Unknown>> unknown_;
  absl::flat_hash_map<SessionId, Session> sessions_;  // with at least one connection
};

}  // namespace lynx
