// The blocks that a transfer may write: where they go and how far they are. No threads, no
// channels.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/status.h"
#include "transfer/block.h"
#include "transfer/receiver.h"

namespace lynx {

enum class BlockState : uint8_t {
  kAbsent,
  kLanding,  // exactly one frame is writing it
  kPresent,  // never written again
  kExcused,  // will not come
};

class GrantTable {
 public:
  // A granted block; invalid after Add.
  struct Slot {
    std::byte* memory = nullptr;
    uint64_t bytes = 0;  // exact, or the room if `variable`
    bool variable = false;
    BlockState* state = nullptr;
  };

  // All or nothing. INVALID_ARGUMENT: beyond the wire's limits, a wrong memory size, a block
  // granted twice.
  absl::Status Add(std::vector<GrantRange> ranges);
  // nullptr state: not granted.
  Slot Find(const BlockId& id);

  std::vector<BlockId> Missing(size_t limit) const;  // in layer order
  int64_t MissingCount(BlockClass c) const;

 private:
  struct Range {
    GrantRange grant;
    std::vector<BlockState> state;  // [layers, pages]
  };
  static absl::Status Check(const GrantRange& range);
  bool Overlaps(const GrantRange& range);

  std::vector<Range> ranges_;
};

}  // namespace lynx
