#include "transfer/nccl_session.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "transfer/nccl_bugs.h"

namespace lynx {

NcclSession::NcclSession(SessionId id, NcclRole role, const NcclOptions& options, NcclLink link,
                         NcclChecksums* checksums, Nanos now)
    : id_(id),
      role_(role),
      options_(options),
      checksums_(checksums),
      phase_began_(now),
      began_(now),
      link_(std::move(link)),
      last_used_(now) {}

NcclSession::~NcclSession() = default;

absl::Status NcclSession::StartPair(const NcclOpen& open) {
  if (phase_ != Phase::kGreeting) return absl::InvalidArgumentError("the session is open already");
  ASSIGN_OR_RETURN(pair_, NcclPair::Create(role_, options_));
  open_ = open;
  phase_ = Phase::kInit;
  return absl::OkStatus();
}

NcclSession::Operation* NcclSession::Find(uint64_t sequence) {
  for (Operation& operation : operations_) {
    if (operation.sequence == sequence) return &operation;
  }
  return nullptr;
}

int NcclSession::UnderWay(Stream stream) const {
  return static_cast<int>(std::count_if(operations_.begin(), operations_.end(),
                                        [&](const Operation& o) { return o.stream == stream; }));
}

void NcclSession::Step(Nanos now) {
  if (!failing()) {
    absl::Status status = StepMessages(now);
    if (status.ok()) status = StepInit();
    if (status.ok()) status = StepHashing(now);
    if (status.ok()) status = StepLaunch();
    if (status.ok()) status = StepRunning(now);
    if (status.ok()) status = CheckDeadlines(now);
    if (!status.ok()) Fail(PeersReason(std::move(status)), now);
  }
  if (failing()) StepFailure(now);
}

absl::Status NcclSession::StepMessages(Nanos now) {
  const absl::Status received = link_->Receive();
  while (true) {
    ASSIGN_OR_RETURN(const std::optional<NcclMessage> message, link_->Next());
    if (!message) break;
    if (message->type == NcclMessageType::kFail) return ParseNcclFail(*message);
    RETURN_IF_ERROR(OnMessage(*message, now));
  }
  RETURN_IF_ERROR(received);
  return link_->Flush();
}

// What NCCL notices of a peer that gave up comes with, or before, the peer's own words.
absl::Status NcclSession::PeersReason(absl::Status otherwise) {
  (void)link_->Receive();
  while (true) {
    const absl::StatusOr<std::optional<NcclMessage>> message = link_->Next();
    if (!message.ok() || !*message) return otherwise;
    if ((*message)->type == NcclMessageType::kFail) return ParseNcclFail(**message);
  }
}

// One communicator after the other, at both ends in the same order.
absl::Status NcclSession::StepInit() {
  if (phase_ != Phase::kInit) return absl::OkStatus();
  const auto stream = static_cast<Stream>(streams_made_);
  if (!std::exchange(init_asked_, true)) {
    ncclUniqueId id;
    std::memcpy(id.internal, open_.ids[static_cast<size_t>(streams_made_)].data(), kNcclIdBytes);
    RETURN_IF_ERROR(pair_->StartInit(stream, id));
  }
  ASSIGN_OR_RETURN(const bool settled, pair_->Settled(stream));
  if (!settled) return absl::OkStatus();
  init_asked_ = false;
  if (++streams_made_ < kStreams) return absl::OkStatus();
  phase_ = Phase::kWarmUp;
  return OnInitialised();
}

absl::Status NcclSession::LaunchNextGroup(Operation* operation) {
  const size_t n = std::min(operation->pieces.size() - operation->issued, kNcclMaxPieces);
  RETURN_IF_ERROR(
      pair_->Issue(operation->stream, std::span(operation->pieces).subspan(operation->issued, n)));
  operation->issued += n;
  return absl::OkStatus();
}

// The oldest operation that is not on the device yet; nothing overtakes it.
absl::Status NcclSession::StepLaunch() {
  if (phase_ != Phase::kWarmUp && phase_ != Phase::kUp) return absl::OkStatus();
  for (size_t i = 0; i < operations_.size(); ++i) {
    Operation* operation = &operations_[i];
    if (operation->state > Operation::State::kIssuing) continue;
    if (HasBug(NcclBug::kSwappedOrder) && role_ == NcclRole::kReceiver && up() &&
        operation->state == Operation::State::kReady && i + 1 < operations_.size() &&
        operations_[i + 1].stream != operation->stream &&
        operations_[i + 1].state <= Operation::State::kIssuing) {
      operation = &operations_[i + 1];
    }
    const bool early = HasBug(NcclBug::kSendBeforeCredit) && role_ == NcclRole::kSender;
    if (operation->state <= Operation::State::kAwaitsCredit && !early) return absl::OkStatus();
    if (operation->state != Operation::State::kIssuing) {
      operation->state = Operation::State::kIssuing;
      if (!operation->pieces.empty()) RETURN_IF_ERROR(LaunchNextGroup(operation));
    }
    ASSIGN_OR_RETURN(const bool settled, pair_->Settled(operation->stream));
    if (!settled) return absl::OkStatus();
    if (operation->issued < operation->pieces.size()) return LaunchNextGroup(operation);
    ASSIGN_OR_RETURN(operation->event, pair_->Mark(operation->stream));
    operation->state = Operation::State::kRunning;
    RETURN_IF_ERROR(OnLaunched(operation));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<uint64_t>> NcclSession::StepHash(Operation* operation) {
  if (!operation->hash_slot) {
    ASSIGN_OR_RETURN(operation->hash_slot, checksums_->Start(operation->hashed));
    if (!operation->hash_slot) return std::nullopt;
  }
  ASSIGN_OR_RETURN(const std::optional<uint64_t> checksum, checksums_->Take(*operation->hash_slot));
  if (checksum) operation->hash_slot.reset();
  return checksum;
}

absl::Status NcclSession::StepHashing(Nanos now) {
  for (Operation& operation : operations_) {
    const bool checks = operation.state == Operation::State::kChecking;
    if (!checks && operation.state != Operation::State::kHashing) continue;
    ASSIGN_OR_RETURN(const std::optional<uint64_t> checksum, StepHash(&operation));
    if (!checksum && checks) continue;
    if (!checksum) break;  // announcements keep their order
    RETURN_IF_ERROR(OnHashed(&operation, *checksum));
    if (checks) RETURN_IF_ERROR(End(&operation, now));
  }
  return absl::OkStatus();
}

absl::Status NcclSession::End(Operation* operation, Nanos now) {
  operation->state = Operation::State::kEnded;
  last_used_ = now;
  warm_ups_ended_ += operation->warm_up;
  return OnEnded(operation, now);
}

absl::Status NcclSession::StepRunning(Nanos now) {
  // A failure is known by the communicator, never by the event: the kernel of a dead peer's
  // operation runs for ever.
  bool busy[kStreams] = {false, false};
  for (Operation& operation : operations_) {
    const auto s = static_cast<size_t>(operation.stream);
    if (operation.state != Operation::State::kRunning || busy[s]) continue;
    busy[s] = true;  // those behind it on the stream end later
    ASSIGN_OR_RETURN(const bool reached, NcclPair::Reached(operation.event));
    RETURN_IF_ERROR(pair_->Settled(operation.stream).status());
    const bool counts = role_ == NcclRole::kSender && !operation.ended_at_peer;
    if (!reached || counts) continue;
    busy[s] = false;
    if (role_ == NcclRole::kReceiver && operation.hashes) {
      operation.state = Operation::State::kChecking;
    } else {
      RETURN_IF_ERROR(End(&operation, now));
    }
  }
  std::erase_if(operations_,
                [](const Operation& o) { return o.state == Operation::State::kEnded; });
  if (phase_ == Phase::kWarmUp && warm_ups_ended_ == kStreams) {
    phase_ = Phase::kUp;
    OnUp();
  }
  return absl::OkStatus();
}

absl::Status NcclSession::CheckDeadlines(Nanos now) const {
  if (phase_ == Phase::kGreeting && now >= began_ + options_.handshake_timeout) {
    return absl::DeadlineExceededError("the peer did not answer the greeting");
  }
  if ((phase_ == Phase::kInit || phase_ == Phase::kWarmUp) &&
      now >= began_ + options_.init_timeout) {
    return absl::DeadlineExceededError(
        absl::StrCat(phase_ == Phase::kInit ? "the peer did not come to make the communicators"
                                            : "the communicators' first operations did not end",
                     " in time: see that both ends reach each other's NCCL_SOCKET_IFNAME, and "
                     "NCCL_DEBUG=INFO"));
  }
  if (!operations_.empty() && phase_ == Phase::kUp &&
      now >= operations_.front().began + options_.operation_timeout) {
    const bool waits = operations_.front().state == Operation::State::kAwaitsCredit;
    return absl::DeadlineExceededError(waits ? "the receiver granted no credit in time"
                                             : "an operation did not end in time");
  }
  return absl::OkStatus();
}

void NcclSession::Fail(absl::Status why, Nanos now) {
  if (failing()) return;
  why_ = std::move(why);
  // Best effort: the peer then does not wait for its own deadline.
  (void)link_->Send(MakeNcclFail(why_));
  phase_ = Phase::kRevoking;
  phase_began_ = now;
  if (pair_ != nullptr) pair_->Revoke();
}

void NcclSession::StepFailure(Nanos now) {
  const bool late = now >= phase_began_ + options_.abort_timeout;
  if (phase_ == Phase::kRevoking && (pair_ == nullptr || pair_->Revoked() || late)) {
    if (pair_ != nullptr) pair_->Abort();
    phase_ = Phase::kDraining;
    phase_began_ = now;
    return StepFailure(now);
  }
  if (phase_ != Phase::kDraining) return;
  const bool drained = pair_ == nullptr || pair_->Drained();
  if (HashesDone() && drained) return Release();
  stuck_ = late;
}

// The device still reads what is being hashed.
bool NcclSession::HashesDone() {
  bool done = true;
  for (Operation& operation : operations_) {
    if (!operation.hash_slot) continue;
    const absl::StatusOr<std::optional<uint64_t>> taken = checksums_->Take(*operation.hash_slot);
    if (taken.ok() && !*taken) {
      done = false;
    } else {
      operation.hash_slot.reset();
    }
  }
  return done;
}

void NcclSession::Release() {
  for (Operation& operation : operations_) OnGivenUp(&operation);
  operations_.clear();
  pair_.reset();
  phase_ = Phase::kOver;
}

std::optional<Nanos> NcclSession::NextStep(Nanos now) const {
  const bool polls =
      phase_ == Phase::kInit || phase_ == Phase::kWarmUp || failing() || !operations_.empty();
  if (polls) return now + options_.poll_interval;
  if (phase_ == Phase::kGreeting) return began_ + options_.handshake_timeout;
  return std::nullopt;
}

}  // namespace lynx
