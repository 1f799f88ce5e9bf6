// One session of an NCCL channel, at either end: its pair of communicators, its control connection
// and the operations under way. NcclSendSession and NcclReceiveSession say what operations carry.
//
// Order: operations are numbered by the sender, over both streams. Both ends launch them in this
// order and one at a time; on the device those of different streams then overlap. An operation's
// life:
//   sender     announce -> (credit) -> issue -> running -> (ended) -> over
//   receiver   (announcement) -> post -> credit, running -> ended -> over
// A send may end before its recv does, as NCCL buffers: so the sender counts an operation until the
// receiver has said that it ended. Where the receiver wants checksums, the sender's operations
// begin with hashing, the receiver's end with checking.
//
// All functions belong to the issuing thread; none waits, but for the abort's time inside NCCL.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "runtime/clock.h"
#include "transfer/channel.h"
#include "transfer/nccl_checksums.h"
#include "transfer/nccl_link.h"
#include "transfer/nccl_pair.h"

namespace lynx {

// Bytes that a warm-up moves: the first operation of a communicator connects, which takes long.
inline constexpr size_t kNcclWarmUpBytes = 1024;

// Pieces of memory in one NCCL group: both ends launch the same groups. An operation that has more
// is several groups, one after another.
inline constexpr size_t kNcclMaxPieces = 64;

class NcclSession {
 public:
  // `checksums` is null where none are taken; it outlives the session.
  NcclSession(SessionId id, NcclRole role, const NcclOptions& options, NcclLink link,
              NcclChecksums* checksums, Nanos now);
  virtual ~NcclSession();
  NcclSession(const NcclSession&) = delete;

  SessionId id() const { return id_; }
  bool up() const { return phase_ == Phase::kUp; }
  // All is released: the owner tells of the end and destroys the session. What stays in use by the
  // device for longer than abort_timeout is `stuck`: told too, but kept until over.
  bool over() const { return phase_ == Phase::kOver; }
  bool stuck() const { return stuck_; }
  bool failing() const { return phase_ >= Phase::kRevoking; }
  const absl::Status& why() const { return why_; }
  int fd() const { return link_ ? link_->fd() : -1; }
  uint32_t wanted_events() const { return link_ ? link_->wanted_events() : 0; }
  Nanos last_used() const { return last_used_; }
  bool idle() const { return up() && operations_.empty(); }

  // Moves everything on that can move.
  void Step(Nanos now);
  // Ends the session for this reason, unless it has ended; Step does the rest. The peer is told.
  void Fail(absl::Status why, Nanos now);
  // When to call Step again at the latest; nullopt: nothing but messages is awaited.
  std::optional<Nanos> NextStep(Nanos now) const;

 protected:
  struct Operation {
    enum class State { kHashing, kAwaitsCredit, kReady, kIssuing, kRunning, kChecking, kEnded };
    State state = State::kAwaitsCredit;
    uint64_t sequence = 0;
    Stream stream = Stream::kAnchor;
    std::vector<NcclPiece> pieces{};  // known when ready
    size_t issued = 0;                // pieces
    NcclJoins joins{};
    cuda::UniqueEvent event{};
    Nanos began{0};

    bool hashes = false;  // a checksum is taken: before it is announced, or once it is in
    std::vector<NcclPiece> hashed{};    // what of
    std::optional<size_t> hash_slot{};  // while it is taken
    uint64_t checksum = 0;              // as announced
    bool damaged = false;               // the receiver's verdict

    bool warm_up = false;
    bool ended_at_peer = false;  // the sender's; told by the receiver
    uint64_t bytes = 0;
    std::optional<OutFrame> frame{};     // at the sender
    std::unique_ptr<Landing> landing{};  // at the receiver; prepared once ready
  };

  // A message that only this end gets. Errors end the session.
  virtual absl::Status OnMessage(const NcclMessage& message, Nanos now) = 0;
  virtual absl::Status OnInitialised() = 0;  // both communicators are there
  // Its checksum is taken; a sender's is announced now.
  virtual absl::Status OnHashed(Operation* operation, uint64_t checksum) = 0;
  virtual absl::Status OnLaunched(Operation* operation) = 0;          // it is on the device
  virtual absl::Status OnEnded(Operation* operation, Nanos now) = 0;  // well
  virtual void OnUp() = 0;
  virtual void OnGivenUp(Operation* operation) = 0;  // the device does not use its memory any more

  absl::Status StartPair(const NcclOpen& open);
  Operation* Find(uint64_t sequence);
  int UnderWay(Stream stream) const;
  absl::Status Send(const NcclMessage& message) { return link_->Send(message); }

  const SessionId id_;
  const NcclRole role_;
  const NcclOptions options_;
  std::deque<Operation> operations_;  // by sequence
  uint64_t next_sequence_ = 1;        // of the next announcement

 private:
  enum class Phase { kGreeting, kInit, kWarmUp, kUp, kRevoking, kDraining, kOver };

  absl::Status StepMessages(Nanos now);
  absl::Status PeersReason(absl::Status otherwise);
  absl::Status StepInit();
  absl::Status StepLaunch();
  absl::Status LaunchNextGroup(Operation* operation);
  absl::Status StepHashing(Nanos now);
  absl::StatusOr<std::optional<uint64_t>> StepHash(Operation* operation);
  absl::Status StepRunning(Nanos now);
  absl::Status End(Operation* operation, Nanos now);
  bool HashesDone();
  absl::Status CheckDeadlines(Nanos now) const;
  void StepFailure(Nanos now);
  void Release();

  NcclChecksums* const checksums_;
  Phase phase_ = Phase::kGreeting;
  Nanos phase_began_;
  const Nanos began_;
  std::optional<NcclLink> link_;
  std::unique_ptr<NcclPair> pair_;
  NcclOpen open_{};
  int streams_made_ = 0;     // initialised communicators, the Anchor's first
  bool init_asked_ = false;  // of the next one
  int warm_ups_ended_ = 0;
  Nanos last_used_;
  absl::Status why_;
  bool stuck_ = false;
};

}  // namespace lynx
