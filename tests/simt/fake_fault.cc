#include "fake_fault.h"

#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "api.h"

namespace simt::fake {
namespace {

const DeviceMemory* the_memory = nullptr;
struct sigaction earlier_segv;
struct sigaction earlier_bus;

void Print(const char* text) {
  char line[512];
  const int n = snprintf(line, sizeof line, "simt: %s\n", text);
  if (n > 0 && write(STDERR_FILENO, line, static_cast<size_t>(n)) < 0) return;
}

void OnFault(int signal, siginfo_t* info, void*) {
  char text[512];
  const bool device = the_memory->InRange(info->si_addr);
  const bool no_address = info->si_code == SI_KERNEL;  // what movaps does, and the like
  if (device) {
    snprintf(text, sizeof text, "a kernel reads or writes %s (address %p)",
             the_memory->Describe(info->si_addr).c_str(), info->si_addr);
  } else if (no_address) {
    snprintf(text, sizeof text, "misaligned vector access");
  } else {
    snprintf(text, sizeof text, "a kernel reads or writes address %p, which is nobody's",
             info->si_addr);
  }
  FailFromSignal(text);  // returns if no kernel runs here, or none that could be left
  if (device) {
    snprintf(text, sizeof text,
             "the host reads or writes device memory: %s (address %p). cudaMemcpyAsync copies it",
             the_memory->Describe(info->si_addr).c_str(), info->si_addr);
    Print(text);
  }
  // Back to the instruction, which now faults into the earlier handler.
  sigaction(signal, signal == SIGSEGV ? &earlier_segv : &earlier_bus, nullptr);
}

}  // namespace

void EnsureFaultHandler(const DeviceMemory& memory) {
  the_memory = &memory;
  struct sigaction now {};
  sigaction(SIGSEGV, nullptr, &now);
  if ((now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == OnFault) return;
  struct sigaction action {};
  action.sa_sigaction = OnFault;
  // SA_NODEFER: a kernel's fault is left by switching stacks, not by returning.
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigemptyset(&action.sa_mask);
  sigaction(SIGSEGV, &action, &earlier_segv);
  sigaction(SIGBUS, &action, &earlier_bus);
}

void EnsureSignalStack() {
  constexpr size_t kBytes = size_t{64} << 10;
  class Stack {
   public:
    Stack() {
      stack_t now{};
      sigaltstack(nullptr, &now);
      if ((now.ss_flags & SS_DISABLE) == 0) return;  // a sanitizer's
      memory_ = malloc(kBytes);
      Set(memory_, 0);
    }
    ~Stack() {
      if (memory_ == nullptr) return;
      Set(memory_, SS_DISABLE);
      free(memory_);
    }

   private:
    static void Set(void* memory, int flags) {
      stack_t stack{};
      stack.ss_sp = memory;
      stack.ss_size = kBytes;
      stack.ss_flags = flags;
      sigaltstack(&stack, nullptr);
    }
    void* memory_ = nullptr;
  };
  thread_local Stack stack;
  (void)stack;
}

}  // namespace simt::fake
