// The sessions of one end of an NCCL channel: stepping them, their sockets in the event loop, the
// limit on pairs, and their ends. Belongs to the issuing thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "runtime/cuda/cuda_buffer.h"
#include "transfer/event_loop.h"
#include "transfer/nccl_session.h"

namespace lynx {

// What a channel has on its device. Where AbortAll fails it stays allocated for ever.
struct NcclMemory {
  cuda::DeviceBuffer<std::byte> scratch;
  std::unique_ptr<NcclChecksums> checksums;  // null: none are taken
};

// Loads NCCL, which is new enough, and the device is there; `scratch_bytes` of its memory, zeroed.
absl::StatusOr<NcclMemory> StartNccl(const NcclOptions& options, uint64_t scratch_bytes,
                                     bool checksums);

class NcclSessions {
 public:
  // `on_end(session)` is called once for each, when it is over or stuck. Both outlive it.
  using OnEnd = std::function<void(const NcclSession&)>;
  NcclSessions(const NcclOptions& options, EventLoop* loop, OnEnd on_end);

  absl::Status Add(std::unique_ptr<NcclSession> session);
  NcclSession* Find(SessionId id);  // nullptr: none, or it is ending
  bool Has(SessionId id) const { return sessions_.contains(id); }
  size_t size() const { return sessions_.size(); }
  int64_t up() const;
  int64_t stuck() const;

  // Room for one more pair: true if there is, or once the pair that was used the longest ago, is
  // idle and may `retire` (it is in no request's use) has been ended (`evicted`).
  bool MakeRoom(Nanos now, absl::FunctionRef<bool(SessionId)> retire, bool* evicted);
  void StepAll(Nanos now);
  std::optional<Nanos> NextStep(Nanos now) const;
  // Aborts all, for at most abort_timeout twice. False: something is stuck and stays allocated for
  // ever, and so must the scratch memory.
  bool AbortAll(const absl::Status& why);

 private:
  struct Entry {
    std::unique_ptr<NcclSession> session;
    int watched_fd = -1;
    bool told = false;
  };
  void Watch(Entry* entry);
  void Unwatch(Entry* entry);
  void Settle(Entry* entry);

  const NcclOptions options_;
  EventLoop* const loop_;
  const OnEnd on_end_;
  absl::flat_hash_map<SessionId, std::unique_ptr<Entry>> sessions_;
};

}  // namespace lynx
