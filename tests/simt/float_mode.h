// Kernels are compiled with -ftz=true: numbers below the normal range count as zero.
#pragma once

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace simt {

// While it lives, this OS thread computes as the device does.
class FlushToZero {
 public:
  FlushToZero(const FlushToZero&) = delete;
  FlushToZero& operator=(const FlushToZero&) = delete;
#if defined(__x86_64__)
  FlushToZero() { _mm_setcsr(saved_ | kFlushResults | kFlushOperands); }
  ~FlushToZero() { _mm_setcsr(saved_); }

 private:
  static constexpr unsigned kFlushResults = 0x8000;
  static constexpr unsigned kFlushOperands = 0x0040;
  unsigned saved_ = _mm_getcsr();
#elif defined(__aarch64__)
  FlushToZero() { __builtin_aarch64_set_fpcr(saved_ | kFlush); }
  ~FlushToZero() { __builtin_aarch64_set_fpcr(saved_); }

 private:
  static constexpr unsigned kFlush = 1u << 24;
  unsigned saved_ = __builtin_aarch64_get_fpcr();
#else
#error "how does this processor flush denormal numbers?"
#endif
};

}  // namespace simt
