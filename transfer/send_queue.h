// Which frame leaves next: the scheduling policy of a sending server, without I/O.
//
// Order of choice, each over all sessions whose connection can take a frame:
//   1. overdue Residuals: passed over for others' Anchors for residual_max_wait in all;
//   2. Anchors and promoted Residuals: the session that was served least, then the oldest transfer;
//   3. other Residuals, then Tails: the same order.
// Within a transfer: Anchor before Residual before Tail, each in layer order, then page order. A
// Residual also waits while an Anchor is queued on a connection that is merely busy (not stalled):
// two connections share a link fairly, so sending both would halve the Anchor's speed.
//
// Not thread-safe: Sender wraps it in a lock. Clock-free: callers pass the time.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "runtime/clock.h"
#include "runtime/status.h"
#include "transfer/block.h"

namespace lynx {

struct SendQueueOptions {
  // How long a transfer's Residual may be held up by other transfers' Anchors, in all. Smaller:
  // committed tokens come sooner under load; larger: provisional ones do.
  Nanos residual_max_wait = std::chrono::milliseconds(50);
  // A frame takes at most this long on the link, so that an Anchor waits for little: for the two
  // Residual frames that may be under way and for its own first bytes, which with 5 ms frames came
  // to more than 10 ms (docs/measurements.md)...
  Nanos frame_time = std::chrono::milliseconds(3);
  // ...but is at least this large (never less than one block), so that headers and system calls
  // stay cheap.
  uint64_t min_frame_bytes = 16 << 10;
  uint64_t max_frame_bytes = 4 << 20;
  // Frames of the Residual's stream, in each session, that were handed out and have not left.
  int max_residual_frames_in_flight = 2;
  // Over all sessions and both streams; 0: no limit. Emulates a slow link.
  uint64_t rate_limit_bytes_per_s = 0;
  // What may be caught up when a wake-up comes late while there is work; an idle link saves nothing
  // up. 0 makes the limit exact on virtual time.
  Nanos rate_burst = std::chrono::milliseconds(50);
  // Link rate assumed until one is measured: small, so that the first frames are.
  uint64_t initial_link_bytes_per_s = 3 << 20;

  absl::Status Validate() const;
};

// What a connection says of itself.
enum class Readiness {
  kReady,    // takes a frame now
  kBusy,     // is still sending
  kStalled,  // has not moved for a while, or is down: nobody waits for it
};

enum class FrameId : uint64_t {};

// A frame to send. The memory of `blocks` stays valid until Written(id).
struct OutFrame {
  FrameId id{};
  SessionId session{};
  TransferKey transfer{};
  BlockClass block_class = BlockClass::kAnchor;
  int blocks_resent = 0;            // of these blocks
  std::vector<BlockData> blocks{};  // consecutive pages of one (layer, kind)
  uint64_t payload_bytes = 0;
};

struct SendPick {
  std::optional<OutFrame> frame{};
  // Without a frame: when to ask again at the latest, if nothing is offered and no connection
  // changes before.
  std::optional<Nanos> ask_again_at{};
};

class SendQueue {
 public:
  explicit SendQueue(const SendQueueOptions& options);

  void AddSession(SessionId session);
  // Its transfers stay, with what is queued, until Rebind or Remove.
  void RemoveSession(SessionId session);
  void SetLinkRate(SessionId session, uint64_t bytes_per_s);

  absl::Status Begin(const TransferKey& key, SessionId session);  // ALREADY_EXISTS
  absl::Status Rebind(const TransferKey& key,
                      SessionId session);  // the transfer goes on in another session
  // All or nothing. INVALID_ARGUMENT: a block offered twice, an empty block that is no Tail, blocks
  // beyond the wire's limits.
  absl::Status Offer(const TransferKey& key, std::span<const BlockData> blocks);
  absl::Status Granted(const TransferKey& key);
  absl::Status Promote(const TransferKey& key);
  // Queues blocks again that were offered; those still queued stay as they are; those not offered
  // yet are passed over. Returns how many were queued.
  absl::StatusOr<int64_t> Resend(const TransferKey& key, std::span<const BlockId> blocks);
  // Forgets the transfer. Returns the number of frames that still use its memory (handed out, not
  // Written).
  absl::StatusOr<int> Remove(const TransferKey& key);

  SendPick Next(Nanos now, absl::FunctionRef<Readiness(SessionId, Stream)> readiness);
  // The frame's memory is not needed any more. Returns the transfer if that was the last use of a
  // removed transfer.
  std::optional<TransferKey> Written(FrameId id);
  // The frame has left this machine, or its connection is gone: makes room for the next Residual
  // frame.
  void Delivered(FrameId id);
  // True if the frame's transfer was removed: its memory is wanted back.
  bool MemoryWanted(FrameId id) const;

  struct Queued {
    std::array<uint64_t, kBlockClasses> bytes{};  // by BlockClass, granted or not
  };
  Queued queued() const { return queued_; }
  int64_t transfers() const { return static_cast<int64_t>(transfers_.size()); }
  // How long Residuals were passed over for others' Anchors, of all transfers together.
  Nanos residual_waited() const { return residual_waited_; }

 private:
  struct Block {
    std::span<const std::byte> bytes;
    bool sent = false;
  };
  struct Transfer {
    TransferKey key;
    uint64_t age = 0;  // smaller: began earlier
    SessionId session{};
    bool granted = false;
    bool promoted = false;
    absl::flat_hash_map<BlockId, Block> blocks;           // all that were offered
    std::array<std::set<BlockId>, kBlockClasses> queued;  // to be sent, in this order
    Nanos waited{0};                                      // passed over for others' Anchors, in all
    std::optional<Nanos> passed_over_since;
    int frames_in_memory = 0;  // handed out, not Written
  };
  struct Session {
    uint64_t served = 0;  // virtual time of fair queueing, in bytes
    uint64_t link_bytes_per_s = 0;
    int residual_frames_in_flight = 0;
  };
  struct InFlight {
    TransferKey transfer{};
    SessionId session{};
    BlockClass block_class = BlockClass::kAnchor;
    bool written = false;
    bool delivered = false;
  };
  // Smaller is sooner: (rank, fair start, age).
  struct Candidate {
    int rank = 0;
    uint64_t start = 0;
    Transfer* transfer = nullptr;
    BlockClass block_class = BlockClass::kAnchor;
    bool Before(const Candidate& other) const;
  };
  struct Survey {
    std::optional<Candidate> best;
    bool work = false;                      // something could go if all connections were ready
    bool anchor_busy = false;               // an Anchor waits for a connection that is sending
    std::vector<Transfer*> residual_ready;  // transfers whose Residual or Tail could go now
  };
  using ReadinessFn = absl::FunctionRef<Readiness(SessionId, Stream)>;

  absl::StatusOr<Transfer*> Find(const TransferKey& key);
  Survey LookAround(ReadinessFn readiness);
  void Consider(Transfer* transfer, ReadinessFn readiness, Survey* survey);
  int RankOf(const Transfer& transfer, BlockClass c) const;
  void CountWaits(Nanos now);
  // What to answer when nothing may go: when the first Residual's patience ends.
  std::optional<Nanos> PatienceEndsAt(Nanos now) const;
  void MarkPassedOver(Nanos now, const Survey& survey, const Transfer* chosen);
  OutFrame Cut(const Candidate& chosen);
  uint64_t FrameBudget(const Session& session) const;
  void Charge(Nanos now, const Candidate& chosen, uint64_t bytes);
  void Enqueue(Transfer* transfer, const BlockId& id, const Block& block);
  void EraseIfDone(FrameId id);

  const SendQueueOptions options_;
  absl::flat_hash_map<SessionId, Session> sessions_;
  absl::flat_hash_map<TransferKey, std::unique_ptr<Transfer>> transfers_;
  std::map<uint64_t, Transfer*> by_age_;
  absl::flat_hash_map<FrameId, InFlight> in_flight_;
  absl::flat_hash_map<TransferKey, int> removed_;  // frames that still use a removed one's memory
  Queued queued_;
  Nanos residual_waited_{0};
  uint64_t next_age_ = 0;
  uint64_t next_frame_ = 0;
  uint64_t virtual_time_ = 0;  // fair start of the last chosen session
  Nanos link_free_at_{0};      // by the rate limit
  bool backlogged_ = false;    // there was work whenever we were asked since the last frame
};

}  // namespace lynx
