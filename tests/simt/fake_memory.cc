#include "fake_memory.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include "sanitizers.h"

namespace simt::fake {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kAlign = 256;
constexpr unsigned char kFill = 0xff;
constexpr unsigned char kRedZone = 0xfd;

size_t RoundUp(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

bool AllRedZone(const char* begin, const char* end) {
  for (; begin < end; ++begin) {
    if (static_cast<unsigned char>(*begin) != kRedZone) return false;
  }
  return true;
}

}  // namespace

DeviceMemory::DeviceMemory() {
  // Addresses, not memory: as many as the system allows.
  constexpr size_t kLeast = size_t{1} << 32;
  range_bytes_ = size_t{1} << (HasTsan() ? 34 : 40);  // TSan has some for each byte of ours
  for (; range_bytes_ >= kLeast; range_bytes_ /= 2) {
    void* p =
        mmap(nullptr, range_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p != MAP_FAILED) {
      base_ = static_cast<char*>(p);
      return;
    }
  }
  range_bytes_ = 0;
}

void DeviceMemory::SetGuard(bool guarded) {
  const std::lock_guard lock(mutex_);
  if (guarded == guarded_) return;
  guarded_ = guarded;
  for (const auto& [pages, a] : live_) Protect(a);
}

void DeviceMemory::Protect(const Allocation& a) const {
  guard_.Protect(a.pages, a.page_bytes, guarded_ && opened_ == 0);
}

void* DeviceMemory::Allocate(size_t bytes, int device) {
  const std::lock_guard lock(mutex_);
  const size_t data_bytes = RoundUp(bytes, kAlign);
  const size_t page_bytes = RoundUp(data_bytes, kPage);
  if (data_bytes < bytes || page_bytes + 2 * kPage > range_bytes_ - next_) return nullptr;
  Allocation a;
  a.pages = base_ + next_ + kPage;
  a.page_bytes = page_bytes;
  a.data = a.pages + page_bytes - data_bytes;
  a.bytes = bytes;
  a.device = device;
  next_ += page_bytes + kPage;
  mprotect(a.pages, page_bytes, PROT_READ | PROT_WRITE);
  memset(a.pages, kRedZone, static_cast<size_t>(a.data - a.pages));
  memset(a.data, kFill, bytes);
  memset(a.data + bytes, kRedZone, data_bytes - bytes);
  Poison(a.pages, static_cast<size_t>(a.data - a.pages));
  Poison(a.data + bytes, data_bytes - bytes);
  Protect(a);
  live_[a.pages] = a;
  return a.data;
}

bool DeviceMemory::Free(void* p, std::string* damage) {
  const std::lock_guard lock(mutex_);
  const Allocation* found = Find(live_, p);
  if (found == nullptr || found->data != p) return false;
  const Allocation a = *found;
  guard_.Protect(a.pages, a.page_bytes, false);
  *damage = DamageOf(a);
  madvise(a.pages, a.page_bytes, MADV_DONTNEED);
  mprotect(a.pages, a.page_bytes, PROT_NONE);
  freed_[a.pages] = a;
  live_.erase(a.pages);
  return true;
}

std::string DeviceMemory::DamageOf(const Allocation& a) {
  const char* end = a.data + a.bytes;
  Unpoison(a.pages, a.page_bytes);
  const bool before = AllRedZone(a.pages, a.data);
  const bool behind = AllRedZone(end, a.pages + a.page_bytes);
  Poison(a.pages, static_cast<size_t>(a.data - a.pages));
  Poison(end, static_cast<size_t>(a.pages + a.page_bytes - end));
  if (before && behind) return "";
  return std::string("device memory was written ") + (before ? "behind" : "before") +
         " an allocation of " + std::to_string(a.bytes) + " bytes";
}

std::string DeviceMemory::FindDamage() {
  Open();
  std::string damage;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [pages, a] : live_) {
      if (damage.empty()) damage = DamageOf(a);
    }
  }
  Close();
  return damage;
}

size_t DeviceMemory::used_bytes(int device) const {
  const std::lock_guard lock(mutex_);
  size_t used = 0;
  for (const auto& [pages, a] : live_) {
    if (a.device == device) used += a.bytes;
  }
  return used;
}

bool DeviceMemory::InRange(const void* p) const {
  const auto* c = static_cast<const char*>(p);
  return c >= base_ && c < base_ + range_bytes_;
}

// The allocation whose pages hold p, or that p lies behind.
const DeviceMemory::Allocation* DeviceMemory::Find(const Map& map, const void* p) {
  auto next = map.upper_bound(static_cast<const char*>(p));
  return next == map.begin() ? nullptr : &std::prev(next)->second;
}

bool DeviceMemory::Contains(const void* p, size_t bytes) const {
  const std::lock_guard lock(mutex_);
  const Allocation* a = Find(live_, p);
  if (a == nullptr) return false;
  const auto* c = static_cast<const char*>(p);
  return c >= a->data && c <= a->data + a->bytes &&
         bytes <= static_cast<size_t>(a->data + a->bytes - c);
}

int DeviceMemory::DeviceOf(const void* p) const {
  const std::lock_guard lock(mutex_);
  const Allocation* a = Find(live_, p);
  return a == nullptr || p >= a->data + a->bytes ? -1 : a->device;
}

std::string DeviceMemory::Describe(const void* p) const {
  const std::lock_guard lock(mutex_);
  const Allocation* live = Find(live_, p);
  const Allocation* freed = Find(freed_, p);
  const bool is_freed = freed != nullptr && (live == nullptr || freed->pages > live->pages);
  const Allocation* a = is_freed ? freed : live;
  if (a == nullptr) return "before all allocations";
  char text[128];
  snprintf(text, sizeof text, "byte %ld of %s allocation of %zu bytes",
           static_cast<long>(static_cast<const char*>(p) - a->data), is_freed ? "a freed" : "an",
           a->bytes);
  return text;
}

void DeviceMemory::Open() {
  guard_.Allow();
  if (guard_.has_keys()) return;
  const std::lock_guard lock(mutex_);
  if (opened_++ != 0 || !guarded_) return;
  for (const auto& [pages, a] : live_) Protect(a);
}

void DeviceMemory::Close() {
  guard_.Deny();
  if (guard_.has_keys()) return;
  const std::lock_guard lock(mutex_);
  if (--opened_ != 0 || !guarded_) return;
  for (const auto& [pages, a] : live_) Protect(a);
}

void* PinnedMemory::Allocate(size_t bytes) {
  const size_t rounded = RoundUp(bytes, kPage);
  if (rounded < bytes) return nullptr;
  auto* p = static_cast<char*>(aligned_alloc(kPage, rounded != 0 ? rounded : kPage));
  if (p == nullptr) return nullptr;
  memset(p, kFill, bytes);
  Poison(p + bytes, rounded - bytes);
  ranges_[p] = {bytes, true};
  return p;
}

bool PinnedMemory::Free(void* p) {
  auto range = ranges_.find(static_cast<const char*>(p));
  if (range == ranges_.end() || !range->second.owned) return false;
  ranges_.erase(range);
  free(p);
  return true;
}

bool PinnedMemory::Register(void* p, size_t bytes) {
  return ranges_.insert({static_cast<const char*>(p), {bytes, false}}).second;
}

bool PinnedMemory::Unregister(void* p) {
  auto range = ranges_.find(static_cast<const char*>(p));
  if (range == ranges_.end() || range->second.owned) return false;
  ranges_.erase(range);
  return true;
}

bool PinnedMemory::Contains(const void* p, size_t bytes) const {
  const auto* c = static_cast<const char*>(p);
  auto next = ranges_.upper_bound(c);
  if (next == ranges_.begin()) return false;
  const auto& [start, range] = *std::prev(next);
  return c <= start + range.bytes && bytes <= static_cast<size_t>(start + range.bytes - c);
}

}  // namespace simt::fake
