#include "transfer/send_queue.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "transfer/frame.h"

namespace lynx {
namespace {

constexpr int kRankOverdue = 0;
constexpr int kRankUrgent = 1;  // Anchors, promoted Residuals
constexpr int kRankResidual = 2;
constexpr int kRankTail = 3;

constexpr uint64_t kNanosPerSecond = 1'000'000'000;

uint64_t BytesIn(Nanos time, uint64_t bytes_per_s) {
  return static_cast<uint64_t>(static_cast<unsigned __int128>(time.count()) * bytes_per_s /
                               kNanosPerSecond);
}

Nanos TimeFor(uint64_t bytes, uint64_t bytes_per_s) {
  auto ns =
      (static_cast<unsigned __int128>(bytes) * kNanosPerSecond + bytes_per_s - 1) / bytes_per_s;
  return Nanos(static_cast<int64_t>(ns));
}

absl::Status CheckBlock(const BlockData& block) {
  bool tail = ClassOf(block.id.kind) == BlockClass::kTail;
  if (static_cast<int>(block.id.kind) >= kBlockKinds || block.id.layer >= kMaxLayers ||
      block.id.page >= kMaxPages || block.bytes.size() > kMaxPayloadBytes ||
      (block.bytes.empty() && !tail)) {
    return absl::InvalidArgumentError(
        absl::StrCat("block (layer ", block.id.layer, ", ", BlockKindName(block.id.kind), ", page ",
                     block.id.page, ") of ", block.bytes.size(), " bytes cannot be sent"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status SendQueueOptions::Validate() const {
  if (residual_max_wait < Nanos(0) || rate_burst < Nanos(0)) {
    return absl::InvalidArgumentError("residual_max_wait and rate_burst must not be negative");
  }
  if (frame_time <= Nanos(0)) return absl::InvalidArgumentError("frame_time must be positive");
  if (min_frame_bytes == 0 || min_frame_bytes > max_frame_bytes ||
      max_frame_bytes > kMaxPayloadBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("frame sizes: 1 <= min <= max <= ", kMaxPayloadBytes, " bytes"));
  }
  if (max_residual_frames_in_flight < 1) {
    return absl::InvalidArgumentError("max_residual_frames_in_flight must be at least 1");
  }
  if (initial_link_bytes_per_s == 0) {
    return absl::InvalidArgumentError("initial_link_bytes_per_s must be positive");
  }
  return absl::OkStatus();
}

bool SendQueue::Candidate::Before(const Candidate& other) const {
  return std::tuple(rank, start, transfer->age) <
         std::tuple(other.rank, other.start, other.transfer->age);
}

SendQueue::SendQueue(const SendQueueOptions& options) : options_(options) {
  LYNX_CHECK(options.Validate().ok());
}

void SendQueue::AddSession(SessionId session) { sessions_.try_emplace(session); }

void SendQueue::RemoveSession(SessionId session) { sessions_.erase(session); }

void SendQueue::SetLinkRate(SessionId session, uint64_t bytes_per_s) {
  auto it = sessions_.find(session);
  if (it != sessions_.end()) it->second.link_bytes_per_s = bytes_per_s;
}

absl::StatusOr<SendQueue::Transfer*> SendQueue::Find(const TransferKey& key) {
  auto it = transfers_.find(key);
  if (it != transfers_.end()) return it->second.get();
  return absl::NotFoundError(absl::StrCat("no transfer ", ToString(key)));
}

absl::Status SendQueue::Begin(const TransferKey& key, SessionId session) {
  if (transfers_.contains(key) || removed_.contains(key)) {
    return absl::AlreadyExistsError(absl::StrCat("transfer ", ToString(key), " exists"));
  }
  auto transfer = std::make_unique<Transfer>();
  transfer->key = key;
  transfer->age = next_age_++;
  transfer->session = session;
  by_age_[transfer->age] = transfer.get();
  transfers_[key] = std::move(transfer);
  return absl::OkStatus();
}

absl::Status SendQueue::Rebind(const TransferKey& key, SessionId session) {
  ASSIGN_OR_RETURN(Transfer * transfer, Find(key));
  transfer->session = session;
  return absl::OkStatus();
}

void SendQueue::Enqueue(Transfer* transfer, const BlockId& id, const Block& block) {
  int c = static_cast<int>(ClassOf(id.kind));
  transfer->queued[c].insert(id);
  queued_.bytes[c] += block.bytes.size();
}

absl::Status SendQueue::Offer(const TransferKey& key, std::span<const BlockData> blocks) {
  ASSIGN_OR_RETURN(Transfer * transfer, Find(key));
  for (size_t i = 0; i < blocks.size(); ++i) {
    absl::Status status = CheckBlock(blocks[i]);
    if (status.ok() && !transfer->blocks.try_emplace(blocks[i].id, Block{blocks[i].bytes}).second) {
      status = absl::InvalidArgumentError(absl::StrCat("block (layer ", blocks[i].id.layer, ", ",
                                                       BlockKindName(blocks[i].id.kind), ", page ",
                                                       blocks[i].id.page, ") was offered before"));
    }
    if (!status.ok()) {  // nothing of this offer is queued yet
      for (size_t j = 0; j < i; ++j) transfer->blocks.erase(blocks[j].id);
      return status;
    }
  }
  for (const BlockData& b : blocks) Enqueue(transfer, b.id, Block{b.bytes});
  return absl::OkStatus();
}

absl::Status SendQueue::Granted(const TransferKey& key) {
  ASSIGN_OR_RETURN(Transfer * transfer, Find(key));
  transfer->granted = true;
  return absl::OkStatus();
}

absl::Status SendQueue::Promote(const TransferKey& key) {
  ASSIGN_OR_RETURN(Transfer * transfer, Find(key));
  transfer->promoted = true;
  return absl::OkStatus();
}

absl::StatusOr<int64_t> SendQueue::Resend(const TransferKey& key, std::span<const BlockId> blocks) {
  ASSIGN_OR_RETURN(Transfer * transfer, Find(key));
  int64_t count = 0;
  for (const BlockId& id : blocks) {
    auto it = transfer->blocks.find(id);
    if (it == transfer->blocks.end()) continue;
    if (transfer->queued[static_cast<int>(ClassOf(id.kind))].contains(id)) continue;
    Enqueue(transfer, id, it->second);
    ++count;
  }
  return count;
}

absl::StatusOr<int> SendQueue::Remove(const TransferKey& key) {
  ASSIGN_OR_RETURN(Transfer * transfer, Find(key));
  for (int c = 0; c < kBlockClasses; ++c) {
    for (const BlockId& id : transfer->queued[c]) {
      queued_.bytes[c] -= transfer->blocks.at(id).bytes.size();
    }
  }
  int in_memory = transfer->frames_in_memory;
  if (in_memory > 0) removed_[key] = in_memory;
  by_age_.erase(transfer->age);
  transfers_.erase(key);
  return in_memory;
}

int SendQueue::RankOf(const Transfer& transfer, BlockClass c) const {
  if (c == BlockClass::kAnchor) return kRankUrgent;
  if (transfer.waited >= options_.residual_max_wait) return kRankOverdue;
  if (transfer.promoted) return kRankUrgent;
  return c == BlockClass::kResidual ? kRankResidual : kRankTail;
}

void SendQueue::Consider(Transfer* transfer, ReadinessFn readiness, Survey* survey) {
  auto session = sessions_.find(transfer->session);
  if (session == sessions_.end() || !transfer->granted) return;
  int c = 0;
  while (c < kBlockClasses && transfer->queued[c].empty()) ++c;
  if (c == kBlockClasses) return;
  survey->work = true;
  auto block_class = static_cast<BlockClass>(c);
  Stream stream = StreamOf(block_class);
  if (stream == Stream::kResidual &&
      session->second.residual_frames_in_flight >= options_.max_residual_frames_in_flight) {
    return;
  }
  Readiness ready = readiness(transfer->session, stream);
  if (stream == Stream::kAnchor && ready == Readiness::kBusy) survey->anchor_busy = true;
  if (ready != Readiness::kReady) return;
  if (stream == Stream::kResidual) survey->residual_ready.push_back(transfer);
  // Start-time fair queueing: a session that had nothing to send does not save up its share.
  Candidate candidate{.rank = RankOf(*transfer, block_class),
                      .start = std::max(session->second.served, virtual_time_),
                      .transfer = transfer,
                      .block_class = block_class};
  if (!survey->best || candidate.Before(*survey->best)) survey->best = candidate;
}

SendQueue::Survey SendQueue::LookAround(ReadinessFn readiness) {
  Survey survey;
  for (auto& [age, transfer] : by_age_) Consider(transfer, readiness, &survey);
  return survey;
}

void SendQueue::CountWaits(Nanos now) {
  for (auto& [age, transfer] : by_age_) {
    if (!transfer->passed_over_since) continue;
    const Nanos waited = std::max(Nanos(0), now - *transfer->passed_over_since);
    transfer->waited += waited;
    residual_waited_ += waited;
    transfer->passed_over_since = now;
  }
}

void SendQueue::MarkPassedOver(Nanos now, const Survey& survey, const Transfer* chosen) {
  for (Transfer* transfer : survey.residual_ready) {
    if (transfer != chosen) transfer->passed_over_since = now;
  }
}

std::optional<Nanos> SendQueue::PatienceEndsAt(Nanos now) const {
  std::optional<Nanos> first;
  for (const auto& [age, transfer] : by_age_) {
    if (!transfer->passed_over_since) continue;
    Nanos end = now + std::max(Nanos(0), options_.residual_max_wait - transfer->waited);
    if (!first || end < *first) first = end;
  }
  return first;
}

uint64_t SendQueue::FrameBudget(const Session& session) const {
  uint64_t rate = session.link_bytes_per_s;
  if (rate == 0) rate = options_.initial_link_bytes_per_s;
  uint64_t limit = options_.rate_limit_bytes_per_s;
  if (limit > 0) rate = session.link_bytes_per_s == 0 ? limit : std::min(rate, limit);
  return std::clamp(BytesIn(options_.frame_time, rate), options_.min_frame_bytes,
                    options_.max_frame_bytes);
}

OutFrame SendQueue::Cut(const Candidate& chosen) {
  Transfer* transfer = chosen.transfer;
  Session& session = sessions_.at(transfer->session);
  auto& queued = transfer->queued[static_cast<int>(chosen.block_class)];
  const uint64_t budget = FrameBudget(session);
  const size_t max_pages = chosen.block_class == BlockClass::kTail ? 1 : kMaxFramePages;
  OutFrame frame{.id = FrameId{next_frame_++},
                 .session = transfer->session,
                 .transfer = transfer->key,
                 .block_class = chosen.block_class};
  while (!queued.empty() && frame.blocks.size() < max_pages) {
    BlockId id = *queued.begin();
    Block& block = transfer->blocks.at(id);
    if (!frame.blocks.empty()) {
      const BlockData& last = frame.blocks.back();
      bool next = id.layer == last.id.layer && id.kind == last.id.kind &&
                  id.page == last.id.page + 1 && block.bytes.size() == last.bytes.size();
      if (!next || frame.payload_bytes + block.bytes.size() > budget) break;
    }
    frame.blocks.push_back({id, block.bytes});
    frame.payload_bytes += block.bytes.size();
    if (block.sent) ++frame.blocks_resent;
    block.sent = true;
    queued.erase(queued.begin());
  }
  queued_.bytes[static_cast<int>(chosen.block_class)] -= frame.payload_bytes;
  ++transfer->frames_in_memory;
  if (StreamOf(chosen.block_class) == Stream::kResidual) ++session.residual_frames_in_flight;
  in_flight_[frame.id] = {
      .transfer = transfer->key, .session = transfer->session, .block_class = chosen.block_class};
  return frame;
}

void SendQueue::Charge(Nanos now, const Candidate& chosen, uint64_t bytes) {
  virtual_time_ = chosen.start;
  sessions_.at(chosen.transfer->session).served = chosen.start + bytes;
  if (options_.rate_limit_bytes_per_s > 0) {
    Nanos catch_up = backlogged_ ? options_.rate_burst : Nanos(0);
    link_free_at_ =
        std::max(link_free_at_, now - catch_up) + TimeFor(bytes, options_.rate_limit_bytes_per_s);
    backlogged_ = true;
  }
}

SendPick SendQueue::Next(Nanos now, ReadinessFn readiness) {
  if (options_.rate_limit_bytes_per_s > 0 && now < link_free_at_) {
    return {.frame = std::nullopt, .ask_again_at = link_free_at_};
  }
  CountWaits(now);
  Survey survey = LookAround(readiness);
  bool withheld = survey.best && survey.best->rank >= kRankResidual && survey.anchor_busy;
  if (!survey.work) backlogged_ = false;
  if (!survey.best || withheld) {
    if (withheld) MarkPassedOver(now, survey, nullptr);
    return {.frame = std::nullopt, .ask_again_at = PatienceEndsAt(now)};
  }
  const Candidate chosen = *survey.best;
  for (auto& [age, transfer] : by_age_) transfer->passed_over_since.reset();
  if (chosen.block_class == BlockClass::kAnchor) MarkPassedOver(now, survey, chosen.transfer);
  SendPick pick;
  pick.frame = Cut(chosen);
  Charge(now, chosen, pick.frame->payload_bytes + kFrameHeaderBytes);
  return pick;
}

void SendQueue::EraseIfDone(FrameId id) {
  auto it = in_flight_.find(id);
  if (it->second.written && it->second.delivered) in_flight_.erase(it);
}

std::optional<TransferKey> SendQueue::Written(FrameId id) {
  auto it = in_flight_.find(id);
  LYNX_CHECK(it != in_flight_.end() && !it->second.written);
  it->second.written = true;
  TransferKey key = it->second.transfer;
  EraseIfDone(id);
  auto live = transfers_.find(key);
  if (live != transfers_.end()) {
    --live->second->frames_in_memory;
    return std::nullopt;
  }
  auto removed = removed_.find(key);
  LYNX_CHECK(removed != removed_.end());
  if (--removed->second > 0) return std::nullopt;
  removed_.erase(removed);
  return key;
}

void SendQueue::Delivered(FrameId id) {
  auto it = in_flight_.find(id);
  LYNX_CHECK(it != in_flight_.end() && !it->second.delivered);
  it->second.delivered = true;
  auto session = sessions_.find(it->second.session);
  if (session != sessions_.end() && StreamOf(it->second.block_class) == Stream::kResidual) {
    --session->second.residual_frames_in_flight;
  }
  EraseIfDone(id);
}

bool SendQueue::MemoryWanted(FrameId id) const {
  auto it = in_flight_.find(id);
  return it != in_flight_.end() && !it->second.written && removed_.contains(it->second.transfer);
}

}  // namespace lynx
