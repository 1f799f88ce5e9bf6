// The prompt's KV of one attempt as it arrives: which blocks are expected, which are in, and what
// has to be done with them (packed tokens into pages, Tails into BF16 numbers).
//
// Thread: the engine thread. The data plane writes granted blocks; this class touches a block only
// after its completion.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "model/kv_ops.h"
#include "model/kv_sequence.h"
#include "runtime/status.h"
#include "transfer/block.h"
#include "transfer/receiver.h"

namespace lynx::decode {

class IncomingKv {
 public:
  // `kv` was made for this geometry with prompt_tokens / 64 code pages; it and `ops` outlive this.
  IncomingKv(int64_t prompt_tokens, KvSequence* kv, KvOps* ops);

  // What to grant to the sender.
  std::vector<GrantRange> Grants() const;

  // Blocks were received. Queues what brings them to where they are read; counts.
  // INVALID_ARGUMENT: a Tail longer than its room.
  absl::Status OnCompletion(const Completion& completion);

  struct RawPlan {
    std::vector<GrantRange> grants;
    std::vector<BlockId> excused;
  };
  // These pages will come as BF16. RESOURCE_EXHAUSTED: the pool has no room now; nothing has
  // changed. INVALID_ARGUMENT: no such page, or one named twice.
  absl::StatusOr<RawPlan> AddRawPages(std::span<const BlockId> pages);

  // Turns up to `pages_max` complete pages into BF16 (bf16 target only). INVALID_ARGUMENT: a Tail
  // does not fit its code: the sender is broken. Returns the number of pages done.
  absl::StatusOr<int64_t> Restore(int64_t pages_max);

  bool anchor_complete() const { return missing(BlockClass::kAnchor) == 0; }
  // The target's view may be read.
  bool target_complete() const;
  int64_t missing(BlockClass c) const { return missing_[static_cast<int>(c)]; }
  // Payload received, by class.
  uint64_t bytes(BlockClass c) const { return bytes_[static_cast<int>(c)]; }

 private:
  // What a page still needs before it can be restored.
  static constexpr uint8_t kAnchorIn = 1, kResidualIn = 2, kTailIn = 4, kRaw = 8;

  int64_t partial_tokens() const { return prompt_tokens_ % kPageTokens; }
  size_t Index(int64_t layer, int64_t page) const { return layer * kv_->code_pages() + page; }
  void MarkPage(int64_t layer, int64_t page, uint8_t bit);
  void QueueIfReady(int64_t layer, int64_t page);
  void UnpackPartial(int layer);
  // Brings a block from its landing, if that is elsewhere.
  void TakeIn(std::byte* block, const std::byte* landing, size_t bytes);

  const int64_t prompt_tokens_;
  KvSequence* const kv_;
  KvOps* const ops_;
  const KvGeometry& geometry_;
  std::array<int64_t, kBlockClasses> missing_{};  // blocks
  std::array<uint64_t, kBlockClasses> bytes_{};

  std::vector<uint8_t> state_;                  // [layers, code_pages]
  std::vector<uint32_t> tail_bytes_;            // [layers, code_pages]
  std::vector<bool> sinks_in_;                  // [layers]
  std::vector<std::pair<int, int64_t>> ready_;  // (layer, page) that can be restored
  int64_t to_restore_ = 0;                      // pages that are not BF16 yet (bf16 target)
};

}  // namespace lynx::decode
