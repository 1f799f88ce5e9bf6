// The receiving side of all transfers of a decode server: frames land straight in granted memory.
//
// Threads: the engine thread calls the upper part (it may be several threads); channels' I/O
// threads call FrameSink's. Nothing waits. A block is written at most once successfully, and
// published exactly once by PollCompleted; a present block is never written again: duplicates are
// drained elsewhere. Between Begin and the completion's publication memory belongs to the receiver:
// the engine reads a block only after it polled its completion.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "runtime/clock.h"
#include "runtime/status.h"
#include "transfer/block.h"
#include "transfer/channel.h"

namespace lynx {

// Memory for the blocks of one kind over a rectangle of layers and pages.
struct GrantRange {
  BlockKind kind = BlockKind::kAnchorPage;
  uint32_t first_layer = 0;
  uint32_t layers = 0;
  uint32_t first_page = 0;
  uint32_t pages = 0;
  // Exactly the length of each block; for Tails the room that each has.
  uint64_t block_bytes = 0;
  std::vector<std::byte*> memory{};  // [layers, pages]; nullptr: that block is not expected
};

// Fills `memory` by calling `at(layer, page)` for every block.
GrantRange MakeGrantRange(BlockKind kind, uint32_t layers, uint32_t first_page, uint32_t pages,
                          uint64_t block_bytes,
                          absl::FunctionRef<std::byte*(uint32_t layer, uint32_t page)> at);

// Consecutive pages that are now present.
struct Completion {
  TransferKey transfer;
  uint32_t layer = 0;
  BlockKind kind = BlockKind::kAnchorPage;
  uint32_t first_page = 0;
  uint32_t pages = 0;
  uint64_t bytes = 0;  // of all of them; a Tail's own length, as it has one page
  // Of their frame: its header, its last byte. 0 without a clock.
  Nanos begun{0};
  Nanos landed{0};
};

struct ReceiverEvent {
  enum class Type {
    kMemorySafe,  // a revoked transfer's memory is not written any more
    kSessionUp,
    kSessionDown,
    // A frame of this transfer was dropped for its checksum: some blocks must be asked for again.
    // At most one of these is queued for a transfer.
    kGap,
  };
  Type type = Type::kGap;
  TransferKey transfer{};  // kMemorySafe, kGap
  SessionId session{};     // kSessionUp, kSessionDown
  absl::Status status{};   // kSessionDown: why
};

struct ReceiverStats {
  uint64_t frames = 0;
  std::array<uint64_t, kBlockClasses> bytes{};  // payload that became present, by BlockClass
  uint64_t duplicate_blocks = 0;                // already present or landing; drained
  uint64_t bad_payload_frames = 0;
  uint64_t bad_headers = 0;
  uint64_t unknown_transfer_frames = 0;
  uint64_t old_epoch_frames = 0;
  uint64_t wrong_session_frames = 0;
  uint64_t not_granted_frames = 0;  // a block outside the grant, or of another length
  uint64_t cut_frames = 0;          // the connection ended in mid-frame
  int64_t transfers = 0;
  int64_t quarantined_transfers = 0;
};

class Receiver final : public FrameSink {
 public:
  // `wake`: called after completions or events were queued, from an I/O thread, with no lock held;
  // must be cheap. May be null. `clock` outlives this; null: completions carry no times.
  explicit Receiver(std::function<void()> wake = nullptr, const Clock* clock = nullptr);
  ~Receiver() override;  // after the channels that use it

  // From now on frames of `key` that come through `session` are taken. ALREADY_EXISTS: the id is
  // granted (or still in quarantine) under any epoch; INVALID_ARGUMENT: ranges beyond
  // the wire's limits, overlapping, or with a wrong memory size.
  absl::Status Grant(const TransferKey& key, SessionId session, std::vector<GrantRange> ranges);
  // More memory for the same transfer (raw pages).
  absl::Status AddGrant(const TransferKey& key, std::vector<GrantRange> ranges);
  // These blocks will never come (their pages travel raw): they are no longer expected, and no
  // longer written. FAILED_PRECONDITION if one of them is present or landing.
  absl::Status Excuse(const TransferKey& key, std::span<const BlockId> blocks);
  // After a lost session: the transfer goes on through another one.
  absl::Status Rebind(const TransferKey& key, SessionId session);

  // Expected blocks that are not present, in layer order, at most `limit`. Blocks that are landing
  // count as missing.
  absl::StatusOr<std::vector<BlockId>> Missing(const TransferKey& key,
                                               size_t limit = SIZE_MAX) const;
  absl::StatusOr<int64_t> MissingCount(const TransferKey& key, BlockClass c) const;

  // Ends the transfer: nothing of it is published any more, not even what was completed and not
  // polled. True: its memory is safe to reuse now. False: a frame is being written to it at this
  // moment; a kMemorySafe event follows within that one write.
  absl::StatusOr<bool> Revoke(const TransferKey& key);

  // Newly present blocks, in the order of their arrival, at most `limit` entries. The queue is
  // bounded by the granted blocks.
  std::vector<Completion> PollCompleted(size_t limit = 1024);
  std::vector<ReceiverEvent> PollEvents();
  ReceiverStats stats() const;

  // FrameSink, for the channels.
  std::unique_ptr<Landing> Begin(SessionId session, const FrameHeader& header) override;
  std::unique_ptr<Landing> BeginOnDevice(SessionId session, const FrameHeader& header) override;
  void OnBadHeader(SessionId session) override;
  void OnSession(const SessionEvent& event) override;

 private:
  struct Transfer;
  class FrameLanding;
  enum class Place { kHost, kDevice };  // of a frame's payload

  absl::StatusOr<Transfer*> Find(const TransferKey& key) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The transfer that may take this frame; null (and counted) if none may.
  std::shared_ptr<Transfer> Admit(SessionId session, const FrameHeader& header)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::unique_ptr<Landing> BeginAt(Place place, SessionId session, const FrameHeader& header);
  std::unique_ptr<FrameLanding> Lay(std::shared_ptr<Transfer> transfer, const FrameHeader& header,
                                    Place place) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ReleaseQuarantine(const TransferKey& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void TellGap(Transfer* transfer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Publish(const FrameLanding& landing) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Wake() const {
    if (wake_) wake_();
  }
  Nanos Now() const { return clock_ == nullptr ? Nanos(0) : clock_->Now(); }

  const std::function<void()> wake_;
  const Clock* const clock_;

  mutable absl::Mutex mu_;
  absl::flat_hash_map<TransferId, std::shared_ptr<Transfer>> transfers_ ABSL_GUARDED_BY(mu_);
  std::deque<Completion> completed_ ABSL_GUARDED_BY(mu_);
  std::vector<ReceiverEvent> events_ ABSL_GUARDED_BY(mu_);
  ReceiverStats stats_ ABSL_GUARDED_BY(mu_);
};

}  // namespace lynx
