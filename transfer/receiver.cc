#include "transfer/receiver.h"

#include <algorithm>
#include <utility>

#include "transfer/frame_landing.h"

namespace lynx {

Receiver::Receiver(std::function<void()> wake, const Clock* clock)
    : wake_(std::move(wake)), clock_(clock) {}
Receiver::~Receiver() = default;

absl::StatusOr<Receiver::Transfer*> Receiver::Find(const TransferKey& key) const {
  auto it = transfers_.find(key.id);
  if (it != transfers_.end() && it->second->key == key && !it->second->revoked) {
    return it->second.get();
  }
  return absl::NotFoundError(absl::StrCat("no grant for transfer ", ToString(key)));
}

absl::Status Receiver::Grant(const TransferKey& key, SessionId session,
                             std::vector<GrantRange> ranges) {
  absl::MutexLock lock(&mu_);
  if (transfers_.contains(key.id)) {
    return absl::AlreadyExistsError(
        absl::StrCat("transfer ", ToString(key), " is granted or in quarantine"));
  }
  auto transfer = std::make_shared<Transfer>();
  transfer->key = key;
  transfer->session = session;
  RETURN_IF_ERROR(transfer->table.Add(std::move(ranges)));
  transfers_[key.id] = std::move(transfer);
  ++stats_.transfers;
  return absl::OkStatus();
}

absl::Status Receiver::AddGrant(const TransferKey& key, std::vector<GrantRange> ranges) {
  absl::MutexLock lock(&mu_);
  ASSIGN_OR_RETURN(Transfer * transfer, Find(key));
  return transfer->table.Add(std::move(ranges));
}

absl::Status Receiver::Excuse(const TransferKey& key, std::span<const BlockId> blocks) {
  absl::MutexLock lock(&mu_);
  ASSIGN_OR_RETURN(Transfer * transfer, Find(key));
  std::vector<BlockState*> states;
  for (const BlockId& id : blocks) {
    BlockState* state = transfer->table.Find(id).state;
    if (state == nullptr) continue;
    if (*state == BlockState::kLanding || *state == BlockState::kPresent) {
      return absl::FailedPreconditionError(
          absl::StrCat("block (layer ", id.layer, ", ", BlockKindName(id.kind), ", page ", id.page,
                       ") of transfer ", ToString(key), " has come already"));
    }
    states.push_back(state);
  }
  for (BlockState* state : states) *state = BlockState::kExcused;
  return absl::OkStatus();
}

absl::Status Receiver::Rebind(const TransferKey& key, SessionId session) {
  absl::MutexLock lock(&mu_);
  ASSIGN_OR_RETURN(Transfer * transfer, Find(key));
  transfer->session = session;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<BlockId>> Receiver::Missing(const TransferKey& key, size_t limit) const {
  absl::MutexLock lock(&mu_);
  ASSIGN_OR_RETURN(Transfer * transfer, Find(key));
  return transfer->table.Missing(limit);
}

absl::StatusOr<int64_t> Receiver::MissingCount(const TransferKey& key, BlockClass c) const {
  absl::MutexLock lock(&mu_);
  ASSIGN_OR_RETURN(Transfer * transfer, Find(key));
  return transfer->table.MissingCount(c);
}

absl::StatusOr<bool> Receiver::Revoke(const TransferKey& key) {
  absl::MutexLock lock(&mu_);
  ASSIGN_OR_RETURN(Transfer * transfer, Find(key));
  std::erase_if(completed_, [&](const Completion& c) { return c.transfer == key; });
  std::erase_if(events_, [&](const ReceiverEvent& e) {
    return e.type == ReceiverEvent::Type::kGap && e.transfer == key;
  });
  transfer->revoked = true;
  --stats_.transfers;
  if (transfer->writers == 0) {
    transfers_.erase(key.id);
    return true;
  }
  ++stats_.quarantined_transfers;
  return false;
}

void Receiver::ReleaseQuarantine(const TransferKey& key) {
  transfers_.erase(key.id);
  --stats_.quarantined_transfers;
  events_.push_back({.type = ReceiverEvent::Type::kMemorySafe, .transfer = key});
}

void Receiver::TellGap(Transfer* transfer) {
  ++stats_.bad_payload_frames;
  if (std::exchange(transfer->gap_told, true)) return;
  events_.push_back({.type = ReceiverEvent::Type::kGap, .transfer = transfer->key});
}

std::vector<Completion> Receiver::PollCompleted(size_t limit) {
  absl::MutexLock lock(&mu_);
  size_t n = std::min(limit, completed_.size());
  std::vector<Completion> out(completed_.begin(), completed_.begin() + n);
  completed_.erase(completed_.begin(), completed_.begin() + n);
  return out;
}

std::vector<ReceiverEvent> Receiver::PollEvents() {
  absl::MutexLock lock(&mu_);
  for (const ReceiverEvent& event : events_) {
    if (event.type != ReceiverEvent::Type::kGap) continue;
    absl::StatusOr<Transfer*> transfer = Find(event.transfer);
    if (transfer.ok()) (*transfer)->gap_told = false;
  }
  return std::exchange(events_, {});
}

ReceiverStats Receiver::stats() const {
  absl::MutexLock lock(&mu_);
  return stats_;
}

std::shared_ptr<Receiver::Transfer> Receiver::Admit(SessionId session, const FrameHeader& header) {
  auto it = transfers_.find(header.transfer.id);
  if (it == transfers_.end() || it->second->revoked ||
      header.transfer.epoch > it->second->key.epoch) {
    ++stats_.unknown_transfer_frames;
    return nullptr;
  }
  if (header.transfer.epoch < it->second->key.epoch) {
    ++stats_.old_epoch_frames;
    return nullptr;
  }
  if (it->second->session != session) {
    ++stats_.wrong_session_frames;
    return nullptr;
  }
  return it->second;
}

std::unique_ptr<Receiver::FrameLanding> Receiver::Lay(std::shared_ptr<Transfer> transfer,
                                                      const FrameHeader& header, Place place) {
  std::vector<FrameLanding::Piece> pieces(header.page_count);
  std::vector<BlockState*> wanted;
  for (uint32_t i = 0; i < header.page_count; ++i) {
    GrantTable::Slot slot = transfer->table.Find(header.block(i));
    bool fits =
        slot.variable ? header.block_bytes() <= slot.bytes : header.block_bytes() == slot.bytes;
    if (slot.state == nullptr || !fits) {
      ++stats_.not_granted_frames;
      return std::make_unique<FrameLanding>(this, header, place, nullptr,
                                            std::vector<FrameLanding::Piece>());
    }
    if (*slot.state == BlockState::kAbsent) pieces[i] = {slot.memory, slot.state};
  }
  bool any = false;
  for (FrameLanding::Piece& piece : pieces) {
    if (piece.state == nullptr) {
      ++stats_.duplicate_blocks;
      continue;
    }
    *piece.state = BlockState::kLanding;
    any = true;
  }
  if (!any) transfer = nullptr;
  return std::make_unique<FrameLanding>(this, header, place, std::move(transfer),
                                        std::move(pieces));
}

std::unique_ptr<Landing> Receiver::Begin(SessionId session, const FrameHeader& header) {
  return BeginAt(Place::kHost, session, header);
}

std::unique_ptr<Landing> Receiver::BeginOnDevice(SessionId session, const FrameHeader& header) {
  return BeginAt(Place::kDevice, session, header);
}

std::unique_ptr<Landing> Receiver::BeginAt(Place place, SessionId session,
                                           const FrameHeader& header) {
  absl::MutexLock lock(&mu_);
  ++stats_.frames;
  std::shared_ptr<Transfer> transfer = Admit(session, header);
  if (transfer != nullptr) return Lay(std::move(transfer), header, place);
  return std::make_unique<FrameLanding>(this, header, place, nullptr,
                                        std::vector<FrameLanding::Piece>());
}

// One completion for each run of pages that this frame brought.
void Receiver::Publish(const FrameLanding& landing) {
  const FrameHeader& header = landing.header_;
  uint64_t* bytes = &stats_.bytes[static_cast<int>(ClassOf(header.kind))];
  const Nanos now = Now();
  bool in_run = false;
  for (uint32_t i = 0; i < header.page_count; ++i) {
    bool landed = landing.pieces_[i].state != nullptr;
    if (landed && !in_run) {
      completed_.push_back({.transfer = header.transfer,
                            .layer = header.layer,
                            .kind = header.kind,
                            .first_page = header.first_page + i,
                            .begun = landing.begun_,
                            .landed = now});
    }
    in_run = landed;
    if (!landed) continue;
    ++completed_.back().pages;
    completed_.back().bytes += header.block_bytes();
    *bytes += header.block_bytes();
  }
}

void Receiver::OnBadHeader(SessionId) {
  absl::MutexLock lock(&mu_);
  ++stats_.bad_headers;
}

void Receiver::OnSession(const SessionEvent& event) {
  {
    absl::MutexLock lock(&mu_);
    events_.push_back(
        {.type = event.up ? ReceiverEvent::Type::kSessionUp : ReceiverEvent::Type::kSessionDown,
         .session = event.session,
         .status = event.status});
  }
  Wake();
}

}  // namespace lynx
