// NcclClient's implementation: the issuing thread and what it shares with other threads.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "transfer/nccl_client.h"
#include "transfer/nccl_receive_session.h"
#include "transfer/nccl_sessions.h"
#include "transfer/nccl_thread.h"
#include "transfer/tcp_socket.h"

namespace lynx {

class NcclClientIo final : public NcclClient {
 public:
  NcclClientIo(const NcclClientOptions& options, uint32_t nccl_version, FrameSink* sink,
               std::unique_ptr<EventLoop> loop, NcclMemory memory);
  ~NcclClientIo() override;

  absl::StatusOr<SessionId> Dial(const DialRequest& request) override;
  void CloseSession(SessionId session) override;
  SessionHold HoldSession(SessionId session) override;
  DataClientStats stats() const override;
  bool Close() override;

 private:
  // Under way to be connected.
  struct Dialling {
    std::vector<SocketAddress> addresses;
    size_t next_address = 0;
    UniqueFd fd{};
    NcclHello hello{};
    Nanos deadline{0};
  };
  struct Asked {
    SessionId session{};
    std::unique_ptr<Dialling> dial;  // null: close
  };

  // The issuing thread's.
  bool Loop();
  void HandleAsked(Nanos now);
  void Close(SessionId id, Nanos now);
  void ConnectNext(SessionId id);
  void OnConnected(SessionId id);
  absl::Status Open(SessionId id, std::unique_ptr<Dialling> dialling, Nanos now);
  void EndLate(Nanos now);
  void Down(SessionId id, const absl::Status& why, bool was_session);
  std::optional<Nanos> NextWake(Nanos now) const;

  const NcclClientOptions options_;
  const uint32_t nccl_version_;
  FrameSink* const sink_;
  const std::unique_ptr<EventLoop> loop_;
  NcclMemory memory_;
  std::atomic<bool> stop_{false};

  // The issuing thread's.
  absl::flat_hash_map<SessionId, std::unique_ptr<Dialling>> dialling_;
  NcclSessions sessions_;

  mutable absl::Mutex mu_;
  std::vector<Asked> asked_ ABSL_GUARDED_BY(mu_);
  uint64_t next_session_ ABSL_GUARDED_BY(mu_) = 1;
  SessionUses uses_ ABSL_GUARDED_BY(mu_);
  size_t session_count_ ABSL_GUARDED_BY(mu_) = 0;  // dialled and not down
  DataClientStats stats_ ABSL_GUARDED_BY(mu_);

  NcclThread thread_;  // last: it uses everything above
};

}  // namespace lynx
