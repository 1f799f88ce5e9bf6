// TcpClient's implementation: the I/O thread and what it shares with other threads.
#pragma once

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "transfer/event_loop.h"
#include "transfer/receive_connection.h"
#include "transfer/tcp_client.h"

namespace lynx {

class TcpClientIo final : public TcpClient {
 public:
  TcpClientIo(const TcpClientOptions& options, FrameSink* sink, std::unique_ptr<EventLoop> loop);
  ~TcpClientIo() override;

  absl::StatusOr<SessionId> Dial(const DialRequest& request) override;
  // Sessions of TCP give way to none.
  SessionHold HoldSession(SessionId session) override {
    return std::make_shared<const SessionId>(session);
  }
  void CloseSession(SessionId session) override;
  DataClientStats stats() const override;
  bool Close() override;

 private:
  struct Session {
    std::unique_ptr<ReceiveConnection> streams[kStreams];
    bool up = false;
  };
  struct Asked {
    SessionId session{};
    std::unique_ptr<Session> open;  // null: close
  };

  // The I/O thread's.
  void Loop();
  void HandleAsked();
  void Connect(SessionId id, int stream);
  void OnEvents(SessionId id, int stream);
  void AfterProgress(SessionId id, int stream);
  void EndLate(Nanos now);
  void Down(SessionId id, const absl::Status& why);
  std::optional<Nanos> NextDeadline() const;

  const TcpClientOptions options_;
  FrameSink* const sink_;
  const std::unique_ptr<EventLoop> loop_;
  std::atomic<bool> stop_{false};

  absl::flat_hash_map<SessionId, std::unique_ptr<Session>> sessions_;  // the I/O thread's

  mutable absl::Mutex mu_;
  std::vector<Asked> asked_ ABSL_GUARDED_BY(mu_);
  size_t session_count_ ABSL_GUARDED_BY(mu_) = 0;  // dialled and not down
  uint64_t next_session_ ABSL_GUARDED_BY(mu_) = 1;
  DataClientStats stats_ ABSL_GUARDED_BY(mu_);

  std::thread thread_;  // last: it uses everything above
};

}  // namespace lynx
