// The sending side of all transfers of a prefill server.
//
// Threads: every function may be called from any thread; the channel calls FrameSource's. Nothing
// waits, nothing is copied. Memory: blocks stay the caller's and must stay unchanged from Offer
// until the transfer is released: End or Cancel returned true, or a kReleased event came.
//
// Life of a transfer: Begin, Offer as the prefill computes, Granted once the receiver has memory
// (nothing is sent before), Resend for gaps, End. After a lost session (event): Rebind to a new
// one, then Resend what the receiver misses.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "runtime/clock.h"
#include "runtime/status.h"
#include "transfer/block.h"
#include "transfer/channel.h"
#include "transfer/send_queue.h"

namespace lynx {

struct SenderStats {
  std::array<uint64_t, kBlockClasses> bytes_sent{};    // payload, by BlockClass, resends included
  std::array<uint64_t, kBlockClasses> bytes_queued{};  // offered, not sent
  uint64_t frames_sent = 0;
  uint64_t blocks_resent = 0;
  Nanos residual_waited{0};       // of all Residuals that others' Anchors held up, together
  uint64_t link_bytes_per_s = 0;  // as measured last, in whichever session
  int64_t transfers = 0;
  int64_t transfers_awaiting_release = 0;
};

struct SenderEvent {
  enum class Type { kReleased, kSessionUp, kSessionDown };
  Type type = Type::kReleased;
  TransferKey transfer{};  // kReleased
  SessionId session{};     // kSessionUp, kSessionDown
  absl::Status status{};   // kSessionDown: why
};

class Sender final : public FrameSource {
 public:
  // `options` must be valid. `wake`: called after an event was queued, from any thread, with no
  // lock held; must be cheap (set a flag, signal the engine). May be null.
  explicit Sender(const SendQueueOptions& options, std::function<void()> wake = nullptr);

  // The session may still be waiting for its connections; frames leave once they are there.
  absl::Status Begin(const TransferKey& key, SessionId session);
  absl::Status Offer(const TransferKey& key, std::span<const BlockData> blocks);
  absl::Status Granted(const TransferKey& key);
  absl::Status Promote(const TransferKey& key);
  absl::StatusOr<int64_t> Resend(const TransferKey& key, std::span<const BlockId> blocks);
  absl::Status Rebind(const TransferKey& key, SessionId session);

  // The receiver has everything (End) or wants no more (Cancel): the same to us, unsent blocks are
  // dropped. True: no memory is referenced any more. False: a kReleased event follows, soon even if
  // the peer is stuck. NOT_FOUND.
  absl::StatusOr<bool> End(const TransferKey& key);
  absl::StatusOr<bool> Cancel(const TransferKey& key) { return End(key); }

  // Events in order. At most one for each ended transfer and two for each session are ever queued.
  std::vector<SenderEvent> PollEvents();
  SenderStats stats() const;

  // FrameSource, for the channel.
  SendPick NextFrame(Nanos now, absl::FunctionRef<Readiness(SessionId, Stream)> readiness) override;
  void FrameWritten(FrameId id) override;
  void FrameDelivered(FrameId id) override;
  bool FrameMemoryWanted(FrameId id) override;
  void SetLinkRate(SessionId session, uint64_t bytes_per_s) override;
  void OnSession(const SessionEvent& event) override;
  void SetChannelWake(std::function<void()> wake) override;

 private:
  void WakeChannel();
  void PushEvent(SenderEvent event);

  const std::function<void()> wake_;

  mutable absl::Mutex mu_;
  SendQueue queue_ ABSL_GUARDED_BY(mu_);
  SenderStats stats_ ABSL_GUARDED_BY(mu_);
  std::vector<SenderEvent> events_ ABSL_GUARDED_BY(mu_);

  absl::Mutex
      wake_mu_;  // held while the channel is woken, so that it can leave; never taken under mu_
  std::function<void()> channel_wake_ ABSL_GUARDED_BY(wake_mu_);
};

}  // namespace lynx
