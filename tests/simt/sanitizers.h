// What the emulator tells the sanitizers. All of it is weak: the core is compiled once, without
// instrumentation, and finds out at run time which sanitizer the program has.
#pragma once

#include <cstddef>

extern "C" {
#define SIMT_WEAK __attribute__((weak))
SIMT_WEAK void __asan_poison_memory_region(const volatile void*, size_t);
SIMT_WEAK void __asan_unpoison_memory_region(const volatile void*, size_t);
SIMT_WEAK void __sanitizer_start_switch_fiber(void**, const void*, size_t);
SIMT_WEAK void __sanitizer_finish_switch_fiber(void*, const void**, size_t*);
SIMT_WEAK void* __tsan_create_fiber(unsigned);
SIMT_WEAK void __tsan_destroy_fiber(void*);
SIMT_WEAK void __tsan_switch_to_fiber(void*, unsigned);
SIMT_WEAK void* __tsan_get_current_fiber();
SIMT_WEAK void __tsan_acquire(void*);
SIMT_WEAK void __tsan_release(void*);
#undef SIMT_WEAK
}

namespace simt {

inline bool HasAsan() { return &__asan_poison_memory_region != nullptr; }
inline bool HasTsan() { return &__tsan_create_fiber != nullptr; }

inline void Poison(const void* p, size_t bytes) {
  if (HasAsan()) __asan_poison_memory_region(p, bytes);
}
inline void Unpoison(const void* p, size_t bytes) {
  if (HasAsan()) __asan_unpoison_memory_region(p, bytes);
}

// An order that TSan is to know of: what was before a Release is before what follows the Acquire.
class SyncPoint {
 public:
  void Release() {
    if (HasTsan()) __tsan_release(&address_);
  }
  void Acquire() {
    if (HasTsan()) __tsan_acquire(&address_);
  }

 private:
  char address_ = 0;
};

}  // namespace simt
