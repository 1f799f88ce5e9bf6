#include "transfer/nccl_receive_session.h"

#include <algorithm>
#include <utility>

#include "transfer/nccl_bugs.h"

namespace lynx {

NcclReceiveSession::NcclReceiveSession(SessionId id, const NcclOptions& options, NcclLink link,
                                       FrameSink* sink, std::byte* scratch,
                                       NcclChecksums* checksums, Nanos now)
    : NcclSession(id, NcclRole::kReceiver, options, std::move(link), checksums, now),
      sink_(sink),
      scratch_(scratch) {}

absl::Status NcclReceiveSession::OnMessage(const NcclMessage& message, Nanos now) {
  if (!std::exchange(open_, true)) {
    ASSIGN_OR_RETURN(const NcclOpen open, ParseNcclOpen(message));
    return StartPair(open);
  }
  if (message.type == NcclMessageType::kAnnounce) return OnAnnounce(message, now);
  if (message.type != NcclMessageType::kWarmUp) {
    return absl::InvalidArgumentError("the sender broke the protocol: not an announcement");
  }
  ASSIGN_OR_RETURN(Operation * operation, Append(message, now));
  operation->warm_up = true;
  operation->pieces = {{scratch_, kNcclWarmUpBytes}};
  operation->state = Operation::State::kReady;
  return absl::OkStatus();
}

absl::StatusOr<NcclSession::Operation*> NcclReceiveSession::Append(const NcclMessage& message,
                                                                   Nanos now) {
  if (message.sequence != next_sequence_ || message.argument >= kStreams) {
    return absl::InvalidArgumentError(absl::StrCat("the sender broke the protocol: operation ",
                                                   message.sequence, " after ",
                                                   next_sequence_ - 1));
  }
  const auto stream = static_cast<Stream>(message.argument);
  if (UnderWay(stream) >= options_.operations_in_flight) {
    return absl::ResourceExhaustedError("the sender announces more operations than were granted");
  }
  Operation& operation = operations_.emplace_back();
  operation.sequence = next_sequence_++;
  operation.stream = stream;
  operation.began = now;
  return &operation;
}

absl::Status NcclReceiveSession::OnAnnounce(const NcclMessage& message, Nanos now) {
  const absl::StatusOr<NcclAnnounce> announce = ParseNcclAnnounce(message);
  if (!announce.ok()) {
    sink_->OnBadHeader(id_);
    return announce.status();
  }
  if (announce->header.payload_bytes > options_.max_operation_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("a frame of ", announce->header.payload_bytes,
                                                   " bytes is announced, ",
                                                   options_.max_operation_bytes, " are taken"));
  }
  if (options_.checksums && announce->header.payload_checksum == 0) {
    return absl::InvalidArgumentError("the sender broke the protocol: it announces no checksum");
  }
  ASSIGN_OR_RETURN(Operation * operation, Append(message, now));
  operation->bytes = announce->header.payload_bytes;
  operation->landing = sink_->BeginOnDevice(id_, announce->header);
  Lay(operation, *announce);
  operation->state = Operation::State::kReady;
  return absl::OkStatus();
}

void NcclReceiveSession::Lay(Operation* operation, const NcclAnnounce& announce) {
  std::vector<iovec> blocks(announce.header.page_count);
  operation->joins.assign(announce.header.page_count, false);
  blocks.resize(operation->landing->Prepare(blocks));
  for (size_t i = 0; i < blocks.size(); ++i) {
    auto* memory = static_cast<std::byte*>(blocks[i].iov_base);
    const bool joined = i > 0 && announce.joins[i - 1] && memory != nullptr &&
                        blocks[i - 1].iov_base != nullptr &&
                        operation->pieces.back().memory + operation->pieces.back().bytes == memory;
    if (joined) {
      operation->joins[i - 1] = true;
      operation->pieces.back().bytes += blocks[i].iov_len;
    } else {
      operation->pieces.push_back({memory == nullptr ? scratch_ : memory, blocks[i].iov_len});
    }
  }
  if (options_.checksums) PrepareCheck(operation, announce.header, blocks);
}

void NcclReceiveSession::PrepareCheck(Operation* operation, const FrameHeader& header,
                                      std::span<const iovec> blocks) const {
  const auto drained = std::count_if(blocks.begin(), blocks.end(),
                                     [](const iovec& b) { return b.iov_base == nullptr; });
  operation->checksum = header.payload_checksum;
  operation->hashes = drained == 0;
  operation->damaged = drained > 0 && drained < std::ssize(blocks);
  if (!operation->hashes) return;
  if (header.block_bytes() % 8 == 0) {
    operation->hashed = operation->pieces;
    return;
  }
  for (const iovec& block : blocks) {
    operation->hashed.push_back({static_cast<std::byte*>(block.iov_base), block.iov_len});
  }
}

absl::Status NcclReceiveSession::OnHashed(Operation* operation, uint64_t checksum) {
  operation->damaged = checksum != operation->checksum;
  return absl::OkStatus();
}

absl::Status NcclReceiveSession::OnInitialised() { return absl::OkStatus(); }

// The recv is posted: now the sender may send.
absl::Status NcclReceiveSession::OnLaunched(Operation* operation) {
  if (HasBug(NcclBug::kEarlySafe) && operation->landing != nullptr) {
    operation->landing->Commit(operation->bytes);
  }
  return Send(MakeNcclCredit(operation->sequence, operation->joins));
}

absl::Status NcclReceiveSession::OnEnded(Operation* operation, Nanos) {
  if (operation->landing != nullptr) {
    operation->landing->Commit(operation->landing->remaining());
    operation->damaged ? operation->landing->FinishDamaged() : operation->landing->Finish();
    operation->landing.reset();
  }
  return Send({.type = NcclMessageType::kEnded, .sequence = operation->sequence});
}

void NcclReceiveSession::OnUp() { sink_->OnSession({id_, true}); }

void NcclReceiveSession::OnGivenUp(Operation* operation) {
  if (operation->landing == nullptr) return;
  operation->landing->Commit(0);
  operation->landing.reset();
}

}  // namespace lynx
