#include "transfer/sender.h"

#include <utility>

namespace lynx {

Sender::Sender(const SendQueueOptions& options, std::function<void()> wake)
    : wake_(std::move(wake)), queue_(options) {}

void Sender::WakeChannel() {
  absl::MutexLock lock(&wake_mu_);
  if (channel_wake_) channel_wake_();
}

void Sender::SetChannelWake(std::function<void()> wake) {
  absl::MutexLock lock(&wake_mu_);
  channel_wake_ = std::move(wake);
}

void Sender::PushEvent(SenderEvent event) {
  {
    absl::MutexLock lock(&mu_);
    events_.push_back(std::move(event));
  }
  if (wake_) wake_();
}

absl::Status Sender::Begin(const TransferKey& key, SessionId session) {
  absl::MutexLock lock(&mu_);
  return queue_.Begin(key, session);
}

absl::Status Sender::Offer(const TransferKey& key, std::span<const BlockData> blocks) {
  {
    absl::MutexLock lock(&mu_);
    RETURN_IF_ERROR(queue_.Offer(key, blocks));
  }
  WakeChannel();
  return absl::OkStatus();
}

absl::Status Sender::Granted(const TransferKey& key) {
  {
    absl::MutexLock lock(&mu_);
    RETURN_IF_ERROR(queue_.Granted(key));
  }
  WakeChannel();
  return absl::OkStatus();
}

absl::Status Sender::Promote(const TransferKey& key) {
  {
    absl::MutexLock lock(&mu_);
    RETURN_IF_ERROR(queue_.Promote(key));
  }
  WakeChannel();
  return absl::OkStatus();
}

absl::StatusOr<int64_t> Sender::Resend(const TransferKey& key, std::span<const BlockId> blocks) {
  absl::StatusOr<int64_t> queued;
  {
    absl::MutexLock lock(&mu_);
    queued = queue_.Resend(key, blocks);
  }
  WakeChannel();
  return queued;
}

absl::Status Sender::Rebind(const TransferKey& key, SessionId session) {
  {
    absl::MutexLock lock(&mu_);
    RETURN_IF_ERROR(queue_.Rebind(key, session));
  }
  WakeChannel();
  return absl::OkStatus();
}

absl::StatusOr<bool> Sender::End(const TransferKey& key) {
  {
    absl::MutexLock lock(&mu_);
    ASSIGN_OR_RETURN(int in_memory, queue_.Remove(key));
    if (in_memory == 0) return true;
    ++stats_.transfers_awaiting_release;
  }
  WakeChannel();
  return false;
}

std::vector<SenderEvent> Sender::PollEvents() {
  absl::MutexLock lock(&mu_);
  return std::exchange(events_, {});
}

SenderStats Sender::stats() const {
  absl::MutexLock lock(&mu_);
  SenderStats stats = stats_;
  stats.bytes_queued = queue_.queued().bytes;
  stats.residual_waited = queue_.residual_waited();
  stats.transfers = queue_.transfers();
  return stats;
}

SendPick Sender::NextFrame(Nanos now, absl::FunctionRef<Readiness(SessionId, Stream)> readiness) {
  absl::MutexLock lock(&mu_);
  SendPick pick = queue_.Next(now, readiness);
  if (pick.frame) {
    stats_.bytes_sent[static_cast<int>(pick.frame->block_class)] += pick.frame->payload_bytes;
    stats_.blocks_resent += pick.frame->blocks_resent;
    ++stats_.frames_sent;
  }
  return pick;
}

void Sender::FrameWritten(FrameId id) {
  std::optional<TransferKey> released;
  {
    absl::MutexLock lock(&mu_);
    released = queue_.Written(id);
    if (released) --stats_.transfers_awaiting_release;
  }
  if (released) PushEvent({.type = SenderEvent::Type::kReleased, .transfer = *released});
}

void Sender::FrameDelivered(FrameId id) {
  absl::MutexLock lock(&mu_);
  queue_.Delivered(id);
}

bool Sender::FrameMemoryWanted(FrameId id) {
  absl::MutexLock lock(&mu_);
  return queue_.MemoryWanted(id);
}

void Sender::SetLinkRate(SessionId session, uint64_t bytes_per_s) {
  absl::MutexLock lock(&mu_);
  queue_.SetLinkRate(session, bytes_per_s);
  stats_.link_bytes_per_s = bytes_per_s;
}

void Sender::OnSession(const SessionEvent& event) {
  {
    absl::MutexLock lock(&mu_);
    if (event.up) {
      queue_.AddSession(event.session);
    } else {
      queue_.RemoveSession(event.session);
    }
  }
  PushEvent({.type = event.up ? SenderEvent::Type::kSessionUp : SenderEvent::Type::kSessionDown,
             .session = event.session,
             .status = event.status});
}

}  // namespace lynx
