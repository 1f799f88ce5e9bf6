#include "shared_memory.h"

#include <sys/mman.h>

#include <cstdint>

#include "sanitizers.h"

namespace simt {
namespace {

constexpr size_t kRedZoneBytes = 64;
constexpr size_t kArraysRoomBytes = 8 * 1024;  // for red zones and alignment of all arrays
constexpr size_t kBankCycleBytes = 128;        // 32 banks of 4 bytes
constexpr unsigned char kFill = 0xff;

size_t RoundUp(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

char* Map(size_t bytes) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) __builtin_trap();
  return static_cast<char*>(p);
}

}  // namespace

void SharedMemory::Open(size_t limit_bytes) {
  limit_bytes_ = limit_bytes;
  arena_bytes_ = RoundUp(limit_bytes + kArraysRoomBytes, 1024);
  if (HasTsan()) {
    // A fresh mapping has no history: blocks do not seem to race on it.
    arena_ = Map(arena_bytes_);
  } else if (arena_bytes_ > capacity_bytes_) {
    if (arena_ != nullptr) munmap(arena_, capacity_bytes_);
    arena_ = Map(arena_bytes_);
    capacity_bytes_ = arena_bytes_;
  }
  __builtin_memset(arena_, kFill, arena_bytes_);
  Poison(arena_, arena_bytes_);
  ranges_.clear();
}

void SharedMemory::Close() {
  Unpoison(arena_, arena_bytes_);
  if (HasTsan()) munmap(arena_, arena_bytes_);
}

char* SharedMemory::Add(size_t device_offset, size_t bytes, size_t align) {
  const size_t end = ranges_.empty() ? 0 : ranges_.back().offset + ranges_.back().bytes;
  const size_t unit = align > kBankCycleBytes ? align : kBankCycleBytes;
  const size_t offset = RoundUp(end + kRedZoneBytes, unit) + device_offset % unit;
  if (offset + bytes + kRedZoneBytes > arena_bytes_) return nullptr;
  ranges_.push_back({offset, bytes});
  Unpoison(arena_ + offset, bytes);
  return arena_ + offset;
}

bool SharedMemory::Contains(const void* p, size_t bytes) const {
  const auto* c = static_cast<const char*>(p);
  return c >= arena_ && c + bytes <= arena_ + arena_bytes_;
}

SharedMemory::Damage SharedMemory::FindDamage() {
  size_t zone = 0;
  for (size_t i = 0; i <= ranges_.size(); ++i) {
    const size_t end = i < ranges_.size() ? ranges_[i].offset : arena_bytes_;
    for (size_t at = zone; at < end; ++at) {
      if (static_cast<unsigned char>(arena_[at]) != kFill) {
        return {true, static_cast<int>(i) - 1, at - zone};
      }
    }
    if (i < ranges_.size()) zone = end + ranges_[i].bytes;
  }
  return {};
}

}  // namespace simt
