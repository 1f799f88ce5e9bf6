// A fixed piece of device or pinned host memory that KV blocks are cut from, so that serving never
// allocates from the driver, which would wait for the device.
//
// Thread: the engine thread.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "model/kv_pool.h"
#include "runtime/cuda/cuda_buffer.h"
#include "runtime/status.h"

namespace lynx::cuda {

class Arena final : public KvAllocator {
 public:
  // RESOURCE_EXHAUSTED: there is not so much memory.
  static absl::StatusOr<std::unique_ptr<Arena>> Create(MemoryKind kind, size_t bytes);
  ~Arena() override;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // The smallest free range that has room; null if none has, be it for fragmentation.
  std::byte* Allocate(size_t bytes) override;
  void Free(std::byte* block, size_t bytes) override;

  std::byte* base() const { return base_; }
  size_t bytes() const { return bytes_; }

 private:
  Arena(MemoryKind kind, std::byte* base, size_t bytes);
  void AddFree(size_t begin, size_t bytes);
  void RemoveFree(std::map<size_t, size_t>::iterator range);

  const MemoryKind kind_;
  std::byte* const base_;
  const size_t bytes_;
  std::map<size_t, size_t> free_;                     // begin to bytes; no two of them touch
  std::set<std::pair<size_t, size_t>> free_by_size_;  // (bytes, begin)
};

}  // namespace lynx::cuda
