#include "model/kv_pool.h"

#include <cstdlib>

#include "runtime/status.h"

namespace lynx {
namespace {

class HostMemory final : public KvAllocator {
 public:
  std::byte* Allocate(size_t bytes) override {
    return static_cast<std::byte*>(std::aligned_alloc(64, bytes));
  }
  void Free(std::byte* block, size_t) override { std::free(block); }
};

}  // namespace

KvAllocator& HostKvMemory() {
  static HostMemory memory;  // holds nothing
  return memory;
}

KvPool::~KvPool() {
  LYNX_CHECK(used_bytes_ == 0);
  for (auto& [size, blocks] : idle_) {
    for (std::byte* b : blocks) memory_.Free(b, size);
  }
}

std::byte* KvPool::TryAllocate(size_t bytes) {
  LYNX_CHECK(bytes > 0);
  const size_t size = RoundUp(bytes);
  if (!HasRoom(size)) return nullptr;
  auto it = idle_.find(size);
  if (it != idle_.end() && !it->second.empty()) {
    std::byte* block = it->second.back();
    it->second.pop_back();
    idle_bytes_ -= size;
    used_bytes_ += size;
    return block;
  }
  ReleaseIdle(size);
  std::byte* block = memory_.Allocate(size);
  if (block == nullptr && idle_bytes_ > 0) {  // idle blocks of other sizes may be what it lacks
    ReleaseIdle(budget_bytes_);
    block = memory_.Allocate(size);
  }
  if (block != nullptr) used_bytes_ += size;
  return block;
}

void KvPool::Free(std::byte* block, size_t bytes) {
  const size_t size = RoundUp(bytes);
  LYNX_CHECK(block != nullptr && used_bytes_ >= size);
  used_bytes_ -= size;
  idle_bytes_ += size;
  idle_[size].push_back(block);
}

// Gives idle blocks back until `room_bytes` fit beside what is used and idle.
void KvPool::ReleaseIdle(size_t room_bytes) {
  for (auto it = idle_.rbegin(); it != idle_.rend(); ++it) {
    while (used_bytes_ + idle_bytes_ + room_bytes > budget_bytes_ && !it->second.empty()) {
      memory_.Free(it->second.back(), it->first);
      it->second.pop_back();
      idle_bytes_ -= it->first;
    }
  }
}

}  // namespace lynx
