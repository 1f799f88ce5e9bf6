// Which thread of the block runs next, and how a kernel ends early.
#include <cstdarg>
#include <cstdio>

#include "engine.h"

constinit thread_local simt::U3 threadIdx{}, blockIdx{}, blockDim{}, gridDim{};

namespace simt {
namespace {

constinit thread_local Engine* current_engine = nullptr;

void SwitchTo(Engine& e, Thread* to, bool from_dead) {
  Thread* from = e.current;
  if (to == from) return;
  e.current = to;
  ++e.stats.switches;
  threadIdx = to->index;
  Fiber::Switch(from->fiber, to->fiber, from_dead);
}

class ErrorText {
 public:
  explicit ErrorText(Engine& e) : e_(e) {}
  __attribute__((format(printf, 2, 3))) void Append(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    AppendList(format, arguments);
    va_end(arguments);
  }
  void AppendList(const char* format, va_list arguments) {
    const int n = vsnprintf(e_.error + used_, kErrorBytes - used_, format, arguments);
    if (n > 0) used_ += static_cast<size_t>(n);
    if (used_ >= kErrorBytes) used_ = kErrorBytes - 1;
  }

 private:
  Engine& e_;
  size_t used_ = 0;
};

// Who waits where; threads that wait at the same place are shown once.
void ReportDeadlock(Engine& e) {
  constexpr int kMaxShown = 8;
  ErrorText text(e);
  text.Append("deadlock or divergent barrier in %s, block (%u,%u,%u), %d threads have exited:",
              e.grid->name, blockIdx.x, blockIdx.y, blockIdx.z, e.grid->threads_per_block - e.live);
  int shown = 0;
  const Thread* last = nullptr;
  for (int i = 0; i < e.grid->threads_per_block && shown < kMaxShown; ++i) {
    const Thread* t = e.threads[i];
    if (t->state != ThreadState::kWaiting) continue;
    if (last != nullptr && t->waits_in == last->waits_in && t->waits_at.line == last->waits_at.line)
      continue;
    text.Append("\n  thread %d waits in %s at %s:%u", i, t->waits_in, t->waits_at.file,
                t->waits_at.line);
    last = t;
    ++shown;
  }
  e.grid->end.Release();
}

// The OS thread when the block is finished, stuck or failed.
Thread* Next(Engine& e) {
  if (e.error[0] != '\0') return &e.main;
  if (e.ready.empty()) {
    if (e.live != 0) ReportDeadlock(e);
    return &e.main;
  }
  size_t i = e.ready.size() - 1;
  if (e.grid->seed != 0) {
    e.random = Mix(e.random);
    i = e.random % e.ready.size();
  }
  const int thread = e.ready[i];
  e.ready[i] = e.ready.back();
  e.ready.pop_back();
  return e.threads[thread];
}

[[noreturn]] void EndKernel(Engine& e) {
  e.grid->end.Release();  // the text
  e.current->state = ThreadState::kExited;
  SwitchTo(e, &e.main, true);
  __builtin_trap();
}

void AppendPlace(Engine& e, ErrorText& text) {
  text.Append("kernel %s, block (%u,%u,%u) thread %d]", e.grid->name, blockIdx.x, blockIdx.y,
              blockIdx.z, e.current->id);
}

}  // namespace

// Not inlined: a fiber may go on on another OS thread, where a kept address would be stale.
__attribute__((noinline)) Engine* CurrentEngine() {
  asm volatile("" ::: "memory");
  return current_engine;
}
void SetCurrentEngine(Engine* engine) { current_engine = engine; }

uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

void MakeReady(Engine& e, Thread* t) {
  t->state = ThreadState::kReady;
  e.ready.push_back(t->id);
}

void SwitchToNext(Engine& e) { SwitchTo(e, Next(e), false); }

void Wait(Engine& e, const char* what, Loc l) {
  e.current->state = ThreadState::kWaiting;
  e.current->waits_in = what;
  e.current->waits_at = l;
  SwitchToNext(e);
}

void LetOthersRun(Engine& e, const char* what, Loc l) {
  MakeReady(e, e.current);
  e.current->waits_in = what;
  e.current->waits_at = l;
  SwitchToNext(e);
}

void FiberMain() {
  Fiber::Entered();
  for (;;) {
    Engine& e = *CurrentEngine();
    e.grid->start.Acquire();
    e.grid->body(e.grid->arg);
    ThreadExited(*CurrentEngine());
    SwitchToNext(*CurrentEngine());
  }
}

void Fail(Loc l, const char* format, ...) {
  Engine& e = *CurrentEngine();
  ErrorText text(e);
  va_list arguments;
  va_start(arguments, format);
  text.AppendList(format, arguments);
  va_end(arguments);
  text.Append(" [%s:%u, ", l.file, l.line);
  AppendPlace(e, text);
  EndKernel(e);
}

bool FailFromSignal(const char* what) {
  Engine* e = CurrentEngine();
  // TSan does not allow a handler to be left for another stack.
  if (e == nullptr || e->current == &e->main || HasTsan()) return false;
  ErrorText text(*e);
  text.Append("%s [", what);
  AppendPlace(*e, text);
  EndKernel(*e);
}

void Yield(Loc l) { LetOthersRun(*CurrentEngine(), "Yield", l); }

int Lane() { return CurrentEngine()->current->id % kWarpLanes; }

}  // namespace simt
