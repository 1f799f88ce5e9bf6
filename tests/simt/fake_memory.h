// Memory of the fake device, and pinned memory of the host.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <string>

#include "fake_guard.h"

namespace simt::fake {

// Allocations lie in pages of their own, in a range of addresses that is never used again, between
// pages that are never accessible. They end at their last page's end but for what alignment to 256
// bytes leaves, which is filled with a pattern. New memory is full of 0xff. Thread-safe.
class DeviceMemory {
 public:
  struct Allocation {
    char* pages = nullptr;
    size_t page_bytes = 0;
    char* data = nullptr;
    size_t bytes = 0;
    int device = 0;
  };

  DeviceMemory();

  void SetGuard(bool guarded);
  // Before the first allocation: as if the processor had no protection keys.
  void DropKeys() { guard_.DropKeys(); }
  // nullptr: out of memory.
  void* Allocate(size_t bytes, int device);
  // False: not an allocation's start. `damage` says what was written outside of it, or "".
  bool Free(void* p, std::string* damage);
  size_t used_bytes(int device) const;
  bool InRange(const void* p) const;
  // All of [p, p + bytes) lies in one allocation. Freed ones do not count.
  bool Contains(const void* p, size_t bytes) const;
  // -1: of none.
  int DeviceOf(const void* p) const;
  // What was written outside of any allocation, or "".
  std::string FindDamage();
  // Of an address within the range, for messages.
  std::string Describe(const void* p) const;

  // Device memory is accessible from the first Open to the last Close: to the calling thread and
  // those that it starts, or to all where the processor has no protection keys.
  void Open();
  void Close();

 private:
  void Protect(const Allocation& a) const;
  static std::string DamageOf(const Allocation& a);
  using Map = std::map<const char*, Allocation>;  // by first page
  static const Allocation* Find(const Map& map, const void* p);

  mutable std::mutex mutex_;
  char* base_ = nullptr;
  size_t range_bytes_ = 0;
  size_t next_ = 0;  // offset of the first byte never given out
  Map live_;
  Map freed_;  // for messages
  DeviceGuard guard_;
  int opened_ = 0;  // counted without keys only
  bool guarded_ = true;
};

// Opens device memory once, when first asked to, for as long as it lives.
class DeviceAccess {
 public:
  explicit DeviceAccess(DeviceMemory& memory) : memory_(memory) {}
  ~DeviceAccess() {
    if (open_) memory_.Close();
  }
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
  void Ensure() {
    if (!open_) memory_.Open();
    open_ = true;
  }

 private:
  DeviceMemory& memory_;
  bool open_ = false;
};

// Not thread-safe: used with the world's lock.
class PinnedMemory {
 public:
  void* Allocate(size_t bytes);
  bool Free(void* p);
  // Memory of the caller's.
  bool Register(void* p, size_t bytes);
  bool Unregister(void* p);
  bool Contains(const void* p, size_t bytes) const;

 private:
  struct Range {
    size_t bytes;
    bool owned;
  };
  std::map<const char*, Range> ranges_;
};

}  // namespace simt::fake
