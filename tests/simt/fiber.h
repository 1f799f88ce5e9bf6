// Stacks that one OS thread switches between: 40 ns a switch on x86-64, 300 ns elsewhere.
#pragma once

#include <cstddef>

#if !defined(__x86_64__) || defined(SIMT_UCONTEXT)
#include <ucontext.h>
#define SIMT_USES_UCONTEXT 1
#else
#define SIMT_USES_UCONTEXT 0
#endif

namespace simt {

class Fiber {
 public:
  // A stack that will run `entry`, which must never return. Memory below the stack is not
  // accessible. Again on a fiber that has a stack: what that was in is forgotten.
  void Create(void (*entry)());
  // The calling OS thread's own stack.
  void AdoptThread();
  // Leaves `from`, which goes on when somebody switches back to it; never, if `from_dead`.
  static void Switch(Fiber& from, Fiber& to, bool from_dead);
  // The first thing that `entry` does.
  static void Entered();

 private:
  void MakeContext(void (*entry)());

  char* stack_ = nullptr;
  size_t stack_bytes_ = 0;
  void* asan_stack_ = nullptr;
  void* tsan_fiber_ = nullptr;
#if SIMT_USES_UCONTEXT
  ucontext_t context_;
#else
  void* stack_pointer_ = nullptr;
#endif
};

}  // namespace simt
