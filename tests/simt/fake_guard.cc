#include "fake_guard.h"

#include <sys/mman.h>

#include <algorithm>

namespace simt::fake {
namespace {

constexpr size_t kGuardedBytes = 16 << 10;  // of each range, without keys

thread_local int allowed = 0;

}  // namespace

// Threads that exist already have no right to a new key.
DeviceGuard::DeviceGuard() : key_(pkey_alloc(0, PKEY_DISABLE_ACCESS)) {}

void DeviceGuard::Protect(void* pages, size_t bytes, bool guarded) const {
  constexpr int kAll = PROT_READ | PROT_WRITE;
  if (has_keys()) {
    pkey_mprotect(pages, bytes, kAll, guarded ? key_ : 0);
  } else {
    mprotect(pages, std::min(bytes, kGuardedBytes), guarded ? PROT_NONE : kAll);
  }
}

void DeviceGuard::Allow() const {
  ++allowed;
  // Even if it was: a kernel that was left from a signal handler has lost it.
  if (has_keys()) pkey_set(key_, 0);
}

void DeviceGuard::Deny() const {
  if (--allowed == 0 && has_keys()) pkey_set(key_, PKEY_DISABLE_ACCESS);
}

}  // namespace simt::fake
