#include "transfer/nccl_send_session.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "transfer/nccl_api.h"
#include "transfer/nccl_bugs.h"

namespace lynx {
namespace {

FrameHeader HeaderOf(const OutFrame& frame, uint64_t checksum) {
  const BlockId& first = frame.blocks.front().id;
  return {.stream = StreamOf(frame.block_class),
          .kind = first.kind,
          .transfer = frame.transfer,
          .layer = first.layer,
          .first_page = first.page,
          .page_count = static_cast<uint32_t>(frame.blocks.size()),
          .payload_bytes = frame.payload_bytes,
          .payload_checksum = checksum};
}

NcclJoins JoinsOf(const OutFrame& frame) {
  NcclJoins joins(frame.blocks.size());
  for (size_t i = 0; i + 1 < frame.blocks.size(); ++i) {
    const std::span<const std::byte> bytes = frame.blocks[i].bytes;
    joins[i] = bytes.data() + bytes.size() == frame.blocks[i + 1].bytes.data();
  }
  return joins;
}

std::vector<NcclPiece> Cut(const OutFrame& frame, const NcclJoins& joins) {
  std::vector<NcclPiece> pieces;
  for (size_t i = 0; i < frame.blocks.size(); ++i) {
    const std::span<const std::byte> bytes = frame.blocks[i].bytes;
    if (bytes.empty()) continue;
    if (i > 0 && joins[i - 1]) {
      pieces.back().bytes += bytes.size();
    } else {
      // NCCL's interface takes no const.
      pieces.push_back({const_cast<std::byte*>(bytes.data()), bytes.size()});
    }
  }
  return pieces;
}

// Both ends number a frame's words alike, whatever lies together where.
std::vector<NcclPiece> HashedBlocks(const OutFrame& frame, const NcclJoins& joins) {
  const bool whole_words = frame.payload_bytes / frame.blocks.size() % 8 == 0;
  return Cut(frame, whole_words ? joins : NcclJoins(frame.blocks.size()));
}

}  // namespace

NcclSendSession::NcclSendSession(SessionId id, const NcclOptions& options, NcclLink link,
                                 const NcclHello& hello, FrameSource* source, std::byte* scratch,
                                 NcclChecksums* checksums, Nanos now)
    : NcclSession(id, NcclRole::kSender, options, std::move(link), checksums, now),
      peer_(hello),
      source_(source),
      scratch_(scratch) {}

absl::Status NcclSendSession::Open() {
  NcclOpen open{};
  for (auto& id : open.ids) {
    ncclUniqueId made;
    RETURN_IF_ERROR(NcclToStatus(Nccl().GetUniqueId(&made), "cannot make a communicator's id"));
    static_assert(sizeof(made.internal) == kNcclIdBytes);
    std::memcpy(id.data(), made.internal, kNcclIdBytes);
  }
  RETURN_IF_ERROR(Send(MakeNcclOpen(open)));
  return StartPair(open);
}

absl::Status NcclSendSession::OnInitialised() {
  for (Stream stream : {Stream::kAnchor, Stream::kResidual}) {
    Operation& operation = operations_.emplace_back();
    operation.sequence = next_sequence_++;
    operation.stream = stream;
    operation.pieces = {{scratch_, kNcclWarmUpBytes}};
    operation.warm_up = true;
    RETURN_IF_ERROR(Send({.type = NcclMessageType::kWarmUp,
                          .argument = static_cast<uint32_t>(stream),
                          .sequence = operation.sequence}));
  }
  return absl::OkStatus();
}

Readiness NcclSendSession::ReadinessAt(Stream stream, Nanos now, Nanos stalled_after) const {
  if (!up()) return Readiness::kStalled;
  const int limit =
      std::min<int>(options_.operations_in_flight, static_cast<int>(peer_.operations_in_flight));
  if (UnderWay(stream) < limit) return Readiness::kReady;
  for (const Operation& operation : operations_) {
    if (operation.stream != stream) continue;
    if (now - operation.began > stalled_after) return Readiness::kStalled;
    break;
  }
  return Readiness::kBusy;
}

void NcclSendSession::SendFrame(OutFrame frame, Nanos now) {
  // Taken into the operation in any case, which gives it back.
  Operation& operation = operations_.emplace_back();
  operation.sequence = next_sequence_++;
  operation.stream = StreamOf(frame.block_class);
  operation.bytes = frame.payload_bytes;
  operation.began = now;
  operation.joins = JoinsOf(frame);
  if (HasBug(NcclBug::kSendBeforeCredit))
    operation.pieces = Cut(frame, NcclJoins(frame.blocks.size()));
  operation.hashes = peer_.wants_checksums != 0;
  if (operation.hashes) operation.hashed = HashedBlocks(frame, operation.joins);
  operation.frame = std::move(frame);
  if (operation.hashes) {
    operation.state = Operation::State::kHashing;
    return;
  }
  const absl::Status status = Announce(&operation);
  if (!status.ok()) Fail(status, now);
}

absl::Status NcclSendSession::OnHashed(Operation* operation, uint64_t checksum) {
  operation->checksum = checksum;
  operation->state = Operation::State::kAwaitsCredit;
  return Announce(operation);
}

absl::Status NcclSendSession::Announce(Operation* operation) {
  const OutFrame& frame = *operation->frame;
  if (frame.payload_bytes > peer_.max_operation_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a frame of ", frame.payload_bytes, " bytes, the receiver takes ",
                     peer_.max_operation_bytes,
                     ": make max_operation_bytes larger there, or frames smaller here"));
  }
  return Send(MakeNcclAnnounce(operation->sequence, {.header = HeaderOf(frame, operation->checksum),
                                                     .joins = operation->joins}));
}

absl::Status NcclSendSession::OnMessage(const NcclMessage& message, Nanos) {
  Operation* operation = Find(message.sequence);
  if (operation == nullptr) {
    return absl::InvalidArgumentError("the receiver broke the protocol: no such operation");
  }
  if (message.type == NcclMessageType::kCredit) return OnCredit(operation, message);
  // An operation without bytes ends as soon as it is posted.
  const bool may_end = operation->state >= Operation::State::kReady;
  if (message.type != NcclMessageType::kEnded || !may_end) {
    return absl::InvalidArgumentError("the receiver broke the protocol: neither credit nor end");
  }
  operation->ended_at_peer = true;
  return absl::OkStatus();
}

absl::Status NcclSendSession::OnCredit(Operation* operation, const NcclMessage& message) {
  if (operation->state != Operation::State::kAwaitsCredit) {
    if (HasBug(NcclBug::kSendBeforeCredit)) return absl::OkStatus();
    return absl::InvalidArgumentError("the receiver broke the protocol: a second credit");
  }
  const size_t blocks = operation->frame ? operation->frame->blocks.size() : 0;
  ASSIGN_OR_RETURN(const NcclJoins granted, ParseNcclCredit(message, blocks));
  for (size_t i = 0; i < blocks; ++i) {
    if (granted[i] && !operation->joins[i]) {
      return absl::InvalidArgumentError("the receiver joined blocks that lie apart here");
    }
  }
  if (operation->frame) {
    operation->pieces =
        Cut(*operation->frame, HasBug(NcclBug::kWrongPieces) ? operation->joins : granted);
  }
  operation->state = Operation::State::kReady;
  return absl::OkStatus();
}

absl::Status NcclSendSession::OnLaunched(Operation*) { return absl::OkStatus(); }

// Over the time in which the link had this operation and no older one.
void NcclSendSession::Measure(const Operation& operation, Nanos now) {
  const Nanos took = now - std::max(operation.began, last_ended_);
  last_ended_ = now;
  if (took <= Nanos(0) || operation.bytes == 0) return;
  const auto rate = static_cast<uint64_t>(static_cast<double>(operation.bytes) * 1e9 /
                                          static_cast<double>(took.count()));
  bytes_per_s_ = bytes_per_s_ == 0 ? rate : bytes_per_s_ - bytes_per_s_ / 8 + rate / 8;
  source_->SetLinkRate(id_, bytes_per_s_);
}

absl::Status NcclSendSession::OnEnded(Operation* operation, Nanos now) {
  Measure(*operation, now);
  OnGivenUp(operation);
  return absl::OkStatus();
}

void NcclSendSession::OnUp() { source_->OnSession({id_, true}); }

void NcclSendSession::OnGivenUp(Operation* operation) {
  if (!operation->frame) return;
  source_->FrameWritten(operation->frame->id);
  source_->FrameDelivered(operation->frame->id);
  operation->frame.reset();
}

}  // namespace lynx
