#include "model/cuda/arena.h"

namespace lynx::cuda {

absl::StatusOr<std::unique_ptr<Arena>> Arena::Create(MemoryKind kind, size_t bytes) {
  bytes = KvPool::RoundUp(bytes);
  ASSIGN_OR_RETURN(void* memory, AllocateMemory(kind, bytes));
  return std::unique_ptr<Arena>(new Arena(kind, static_cast<std::byte*>(memory), bytes));
}

Arena::Arena(MemoryKind kind, std::byte* base, size_t bytes)
    : kind_(kind), base_(base), bytes_(bytes) {
  AddFree(0, bytes);
}

Arena::~Arena() { FreeMemory(kind_, base_); }

void Arena::AddFree(size_t begin, size_t bytes) {
  free_[begin] = bytes;
  free_by_size_.emplace(bytes, begin);
}

void Arena::RemoveFree(std::map<size_t, size_t>::iterator range) {
  free_by_size_.erase({range->second, range->first});
  free_.erase(range);
}

std::byte* Arena::Allocate(size_t bytes) {
  const auto smallest = free_by_size_.lower_bound({bytes, 0});
  if (smallest == free_by_size_.end()) return nullptr;
  const auto [size, begin] = *smallest;
  RemoveFree(free_.find(begin));
  if (size > bytes) AddFree(begin + bytes, size - bytes);
  return base_ + begin;
}

void Arena::Free(std::byte* block, size_t bytes) {
  auto begin = static_cast<size_t>(block - base_);
  const auto next = free_.lower_bound(begin);
  if (next != free_.end() && next->first == begin + bytes) {
    bytes += next->second;
    RemoveFree(next);
  }
  const auto after = free_.lower_bound(begin);
  if (after != free_.begin()) {
    const auto previous = std::prev(after);
    LYNX_CHECK(previous->first + previous->second <= begin);  // freed twice
    if (previous->first + previous->second == begin) {
      begin = previous->first;
      bytes += previous->second;
      RemoveFree(previous);
    }
  }
  AddFree(begin, bytes);
}

}  // namespace lynx::cuda
