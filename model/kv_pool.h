// The fixed memory budget of a server's KV cache. Blocks of a few sizes (BF16 pages, Anchor and
// Residual blocks, packed tokens) share one budget; freed blocks are kept by size and given back to
// their allocator only when another size needs the room, so that resident memory stays flat.
//
// Thread: the engine thread only. Blocks may be written by the data plane while they are allocated.
#pragma once

#include <cstddef>
#include <map>
#include <vector>

namespace lynx {

// Where a pool's blocks come from.
class KvAllocator {
 public:
  virtual ~KvAllocator() = default;
  // Uninitialised memory aligned to 64 bytes; null if there is none. `bytes` is a multiple of 64.
  virtual std::byte* Allocate(size_t bytes) = 0;
  virtual void Free(std::byte* block, size_t bytes) = 0;
};

// Ordinary memory of the host.
KvAllocator& HostKvMemory();

class KvPool {
 public:
  // The allocator outlives the pool.
  explicit KvPool(size_t budget_bytes, KvAllocator& memory = HostKvMemory())
      : budget_bytes_(budget_bytes), memory_(memory) {}
  ~KvPool();
  KvPool(const KvPool&) = delete;
  KvPool& operator=(const KvPool&) = delete;

  // A block of uninitialised memory aligned to 64 bytes; null if the budget does not allow it.
  // bytes > 0.
  std::byte* TryAllocate(size_t bytes);
  void Free(std::byte* block, size_t bytes);

  // True if `bytes` more could be allocated now, in whatever block sizes.
  bool HasRoom(size_t bytes) const { return used_bytes_ + bytes <= budget_bytes_; }

  size_t budget_bytes() const { return budget_bytes_; }
  size_t used_bytes() const { return used_bytes_; }

  // What a block of this size costs of the budget.
  static size_t RoundUp(size_t bytes) { return (bytes + 63) / 64 * 64; }

 private:
  void ReleaseIdle(size_t room_bytes);

  const size_t budget_bytes_;
  KvAllocator& memory_;
  size_t used_bytes_ = 0;
  size_t idle_bytes_ = 0;                           // in idle_, not counted as used
  std::map<size_t, std::vector<std::byte*>> idle_;  // by rounded size
};

}  // namespace lynx
