#include "fiber.h"

#include <pthread.h>
#include <sys/mman.h>

#include "sanitizers.h"

#if !SIMT_USES_UCONTEXT
// Saves the registers that a call must keep, and the stack pointer; takes over the other's. The
// control words of the floating point units are the same for all fibers.
extern "C" void simt_switch_stacks(void** save, void* load);
asm(R"(.text
.globl simt_switch_stacks
.type simt_switch_stacks,@function
simt_switch_stacks:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
.size simt_switch_stacks,.-simt_switch_stacks
)");
#endif

namespace simt {
namespace {

constexpr size_t kPage = 4096;

size_t StackBytes() { return HasAsan() || HasTsan() ? size_t{256} << 10 : size_t{64} << 10; }

}  // namespace

void Fiber::Create(void (*entry)()) {
  if (stack_ == nullptr) {
    stack_bytes_ = StackBytes();
    void* memory = mmap(nullptr, stack_bytes_ + kPage, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) __builtin_trap();
    mprotect(memory, kPage, PROT_NONE);
    stack_ = static_cast<char*>(memory) + kPage;
  }
  Unpoison(stack_, stack_bytes_);
  asan_stack_ = nullptr;
  if (HasTsan()) {
    if (tsan_fiber_ != nullptr) __tsan_destroy_fiber(tsan_fiber_);
    tsan_fiber_ = __tsan_create_fiber(0);
  }
  MakeContext(entry);
}

void Fiber::AdoptThread() {
  if (HasTsan()) tsan_fiber_ = __tsan_get_current_fiber();
  if (!HasAsan()) return;
  pthread_attr_t attributes;
  void* base = nullptr;
  pthread_getattr_np(pthread_self(), &attributes);
  pthread_attr_getstack(&attributes, &base, &stack_bytes_);
  pthread_attr_destroy(&attributes);
  stack_ = static_cast<char*>(base);
}

void Fiber::Switch(Fiber& from, Fiber& to, bool from_dead) {
  if (HasAsan()) {
    __sanitizer_start_switch_fiber(from_dead ? nullptr : &from.asan_stack_, to.stack_,
                                   to.stack_bytes_);
  }
  // 1: the switch itself orders nothing.
  if (HasTsan()) __tsan_switch_to_fiber(to.tsan_fiber_, 1);
#if SIMT_USES_UCONTEXT
  swapcontext(&from.context_, &to.context_);
#else
  simt_switch_stacks(&from.stack_pointer_, to.stack_pointer_);
#endif
  if (HasAsan()) __sanitizer_finish_switch_fiber(from.asan_stack_, nullptr, nullptr);
}

void Fiber::Entered() {
  if (HasAsan()) __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
}

#if SIMT_USES_UCONTEXT
void Fiber::MakeContext(void (*entry)()) {
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack_;
  context_.uc_stack.ss_size = stack_bytes_;
  context_.uc_link = nullptr;
  makecontext(&context_, entry, 0);
}
#else
void Fiber::MakeContext(void (*entry)()) {
  constexpr int kSavedRegisters = 6;
  void** sp = reinterpret_cast<void**>(stack_ + stack_bytes_);
  *--sp = nullptr;  // a return address, which gives `entry` the alignment that it expects
  *--sp = reinterpret_cast<void*>(entry);
  for (int i = 0; i < kSavedRegisters; ++i) *--sp = nullptr;
  stack_pointer_ = sp;
}
#endif

}  // namespace simt
