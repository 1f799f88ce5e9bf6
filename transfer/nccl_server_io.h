// NcclServer's implementation: the issuing thread and what it shares with other threads.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "transfer/nccl_send_session.h"
#include "transfer/nccl_server.h"
#include "transfer/nccl_sessions.h"
#include "transfer/nccl_thread.h"
#include "transfer/session_desk.h"

namespace lynx {

class NcclServerIo final : public NcclServer {
 public:
  NcclServerIo(const NcclServerOptions& options, FrameSource* source, UniqueFd listener,
               uint16_t port, std::unique_ptr<EventLoop> loop, NcclMemory memory);
  ~NcclServerIo() override;
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
    NcclLink link;
    Nanos deadline{0};
  };

  // The issuing thread's.
  bool Loop();
  void Accept();
  void OnUnknown(int fd);
  void Stranger(int fd);
  void Greet(std::unique_ptr<Unknown> unknown, const NcclMessage& message);
  absl::StatusOr<SessionId> Admit(const NcclMessage& message, NcclHello* hello);
  void CloseAsked(Nanos now);
  void EndLate(Nanos now);
  void Down(SessionId session, const absl::Status& why, bool was_known);
  std::optional<Nanos> Pump();
  std::optional<Nanos> NextWake(Nanos now, std::optional<Nanos> ask_again_at) const;

  const NcclServerOptions options_;
  FrameSource* const source_;
  const uint16_t port_;
  const std::unique_ptr<EventLoop> loop_;
  SessionDesk desk_;
  UniqueFd listener_;
  NcclMemory memory_;
  std::atomic<bool> stop_{false};

  // The issuing thread's.
  bool accept_paused_ = false;  // until the next round
  absl::flat_hash_map<int, std::unique_ptr<Unknown>> unknown_;
  NcclSessions sessions_;

  NcclThread thread_;  // last: it uses everything above
};

}  // namespace lynx
