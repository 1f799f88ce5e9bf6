// Takes device memory away from the host.
#pragma once

#include <cstddef>

namespace simt::fake {

// With x86-64's protection keys each thread has a right to all guarded pages or has not, and to
// change that costs nothing. Without, pages are taken away from all threads and given back: 0.3 us
// for each, so only the first 16 KiB of a range are.
class DeviceGuard {
 public:
  DeviceGuard();
  // As if the processor had none.
  void DropKeys() { key_ = -1; }
  bool has_keys() const { return key_ >= 0; }

  // From now on the range is guarded, or open to all.
  void Protect(void* pages, size_t bytes, bool guarded) const;

  // The calling thread's right, for as many Allows as there are no Denies of. Without keys,
  // nothing.
  void Allow() const;
  void Deny() const;

 private:
  int key_ = -1;
};

}  // namespace simt::fake
