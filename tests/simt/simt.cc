// Scheduler of the SIMT emulator. Compile WITHOUT sanitizers' instrumentation (-fno-sanitize=all)
// but with -DSIMT_ASAN / -DSIMT_TSAN so that the fiber annotations are there.
#include "simt.h"
#ifndef SIMT_ASAN
#define SIMT_ASAN 0
#endif
#ifndef SIMT_TSAN
#define SIMT_TSAN 0
#endif
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xmmintrin.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <new>
#if SIMT_UCONTEXT
#include <ucontext.h>
#endif
#if SIMT_ASAN
#include <sanitizer/common_interface_defs.h>
extern "C" {
void __asan_poison_memory_region(const volatile void*, size_t);
void __asan_unpoison_memory_region(const volatile void*, size_t);
}  // the macros are no-ops in an uninstrumented file
#endif
#if SIMT_TSAN
#include <sanitizer/tsan_interface.h>
extern "C" {
void* __tsan_create_fiber(unsigned);
void __tsan_destroy_fiber(void*);
void __tsan_switch_to_fiber(void*, unsigned);
void* __tsan_get_current_fiber();
void __tsan_acquire(void*);
void __tsan_release(void*);
}
#define TSAN_ACQ(p) __tsan_acquire(p)
#define TSAN_REL(p) __tsan_release(p)
#else
#define TSAN_ACQ(p) ((void)(p))
#define TSAN_REL(p) ((void)(p))
#endif
#if SIMT_MSAN
#include <sanitizer/msan_interface.h>
#endif

constinit thread_local simt::U3 threadIdx{}, blockIdx{}, blockDim{}, gridDim{};

#if !SIMT_UCONTEXT
#if !defined(__x86_64__)
#error "build with -DSIMT_UCONTEXT=1 on this machine"
#endif
extern "C" void simt_ctx_switch(void** save, void* load);
asm(R"(.text
.globl simt_ctx_switch
.type simt_ctx_switch,@function
simt_ctx_switch:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
.size simt_ctx_switch,.-simt_ctx_switch
)");
#endif

namespace simt {
char last_error[2048];
Options& options() {
  static Options o;
  return o;
}
Stats& stats() {
  static Stats s;
  return s;
}

namespace {
constexpr size_t kStack = SIMT_ASAN || SIMT_TSAN ? 256 << 10 : 64 << 10;
constexpr size_t kGuard = 64;  // red zone around every shared-memory array
constexpr int kMaxIn = 8, kMaxOut = 4;

// No std containers in this file: their COMDAT functions could come from an instrumented object
// file. Memory the sanitizers know nothing about; never given back (arrays only grow, and few
// times).
void* Raw(size_t n) {
  return reinterpret_cast<void*>(syscall(SYS_mmap, 0, (n + 4095) & ~size_t{4095},
                                         PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                                         0));
}
template <class T>
struct Arr {
  T* p = nullptr;
  size_t n = 0, cap = 0;
  void push_back(T v) {
    if (n == cap) {
      cap = cap ? cap * 2 : 64;
      T* q = static_cast<T*>(Raw(cap * sizeof(T)));
      for (size_t i = 0; i < n; ++i) q[i] = p[i];
      p = q;
    }
    p[n++] = v;
  }
  T& operator[](size_t i) { return p[i]; }
  T* begin() { return p; }
  T* end() { return p + n; }
  T& back() { return p[n - 1]; }
  void pop_back() { --n; }
  void clear() { n = 0; }
  size_t size() const { return n; }
  bool empty() const { return n == 0; }
};
enum class St : uint8_t { kReady, kBlocked, kDone };
struct Fiber {
#if SIMT_UCONTEXT
  ucontext_t uc;
#else
  void* sp = nullptr;
#endif
  char* stack = nullptr;
  size_t stack_size = kStack;
  void* fake = nullptr;  // ASan
  void* tsan = nullptr;
  int tid = 0;
  U3 idx{};
  St st = St::kReady;
  const char* why = "";  // for the deadlock report
  Loc loc;
  size_t smem_takes = 0;
  Arr<CpOp> cp;        // cp[done..): copies not made yet
  Arr<size_t> groups;  // ends of committed groups
  size_t done = 0, gdone = 0;
};
struct Meet {
  unsigned mask = 0, arrived = 0;
  Op op{};
  uint32_t imm = 0;
  Loc loc;
  bool used = false;
};
struct Warp {
  Meet meet[4];  // at most 4 disjoint masks at once
  uint32_t in[32][kMaxIn], out[32][kMaxOut];
  char sync[4];  // TSan sync objects
  uint32_t row[2][32][2];
  unsigned row_gen = 0;  // ldmatrix addresses, double-buffered
};
struct Bar {
  int arrived = 0, want = 0;
  Loc loc;
  Arr<int> waiting;
  char sync = 0;
};
struct Take {
  size_t off, bytes;
};

struct Sched {
  Arr<Fiber*> pool;  // fibers with stacks; twice as many as threads
  Fiber* th[1024];   // the fiber that runs thread i of the current block
  Arr<int> ready;
  Warp* warps = nullptr;
  int nwarps = 0;
  Bar bars[16];
  Fiber main;
  Fiber* cur = nullptr;
  int n = 0, live = 0;
  void (*body)(void*) = nullptr;
  void* arg = nullptr;
  const char* name = "";
  char error[2048] = {};
  uint64_t rng = 0;
  char* arena = nullptr;
  size_t arena_size = 0, arena_cap = 0, smem_limit = 0;
  Arr<Take> takes;
  char launch_sync = 0, end_sync = 0;
};
thread_local Sched S;

uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

void SwitchTo(Fiber* to, [[maybe_unused]] bool from_dead = false) {
  Fiber* from = S.cur;
  if (to == from) return;
  S.cur = to;
  ++stats().switches;
  threadIdx = to->idx;
#if SIMT_ASAN
  __sanitizer_start_switch_fiber(from_dead ? nullptr : &from->fake, to->stack, to->stack_size);
#endif
#if SIMT_TSAN
  __tsan_switch_to_fiber(to->tsan, 1 /* no happens-before by the switch itself */);
#endif
#if SIMT_UCONTEXT
  swapcontext(&from->uc, &to->uc);
#else
  simt_ctx_switch(&from->sp, to->sp);
#endif
#if SIMT_ASAN
  __sanitizer_finish_switch_fiber(from->fake, nullptr, nullptr);
#endif
}

void Ready(Fiber* f) {
  f->st = St::kReady;
  S.ready.push_back(f->tid);
}

void Deadlock() {
  size_t at = static_cast<size_t>(snprintf(
      S.error, sizeof S.error, "deadlock or divergent barrier in %s, block (%u,%u,%u):", S.name,
      blockIdx.x, blockIdx.y, blockIdx.z));
  int shown = 0;
  const char* lw = nullptr;
  unsigned ll = 0;
  for (int i = 0; i < S.n && shown < 6; ++i) {
    Fiber* f = S.th[i];
    if (f->st != St::kBlocked || (f->why == lw && f->loc.line == ll))
      continue;  // same place as the one before
    lw = f->why;
    ll = f->loc.line;
    at += static_cast<size_t>(snprintf(S.error + at, sizeof S.error - at,
                                       "\n  thread %d waits in %s at %s:%u", i, f->why, f->loc.file,
                                       f->loc.line));
    ++shown;
  }
}

// Next fiber to run, or main when the block is finished / stuck / failed.
Fiber* Pick() {
  if (S.error[0]) return &S.main;
  if (S.ready.empty()) {
    if (S.live) Deadlock();
    return &S.main;
  }
  size_t i = 0;
  if (options().seed) {
    S.rng = Mix(S.rng);
    i = S.rng % S.ready.size();
  } else
    i = S.ready.size() - 1;
  int t = S.ready[i];
  S.ready[i] = S.ready.back();
  S.ready.pop_back();
  return S.th[t];
}
void Block(const char* why, Loc l) {
  S.cur->st = St::kBlocked;
  S.cur->why = why;
  S.cur->loc = l;
  SwitchTo(Pick());
}

void FiberMain() {
#if SIMT_ASAN
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
  for (;;) {
    Fiber* f = S.cur;
    TSAN_ACQ(&S.launch_sync);
    S.body(S.arg);
    f = S.cur;
    if (f->done < f->cp.size())
      Fail(SIMT_HERE, "thread %d exits with cp.async still pending", f->tid);
    TSAN_REL(&S.end_sync);
    f->st = St::kDone;
    --S.live;
    Bar& b = S.bars[0];  // exited threads no longer count for __syncthreads
    if (b.arrived && b.want == 0 && b.arrived == S.live) {
      for (int t : b.waiting) Ready(S.th[t]);
      b.waiting.clear();
      b.arrived = 0;
    }
    SwitchTo(Pick());
  }
}

void MakeContext(Fiber* f) {
#if SIMT_UCONTEXT
  getcontext(&f->uc);
  f->uc.uc_stack.ss_sp = f->stack;
  f->uc.uc_stack.ss_size = kStack;
  f->uc.uc_link = nullptr;
  makecontext(&f->uc, FiberMain, 0);
#else
  void** sp = reinterpret_cast<void**>(f->stack + kStack);
  *--sp = nullptr;  // keeps the ABI's alignment at entry
  *--sp = reinterpret_cast<void*>(&FiberMain);
  for (int i = 0; i < 6; ++i) *--sp = nullptr;
  f->sp = sp;
#endif
}

void Prepare(int n) {
  while (static_cast<int>(S.pool.size()) < n) {
    Fiber* f = new (Raw(sizeof(Fiber))) Fiber;
    size_t page = 4096;
    char* m = static_cast<char*>(mmap(nullptr, kStack + page, PROT_READ | PROT_WRITE,
                                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    mprotect(m, page, PROT_NONE);  // stack overflow faults instead of corrupting
    f->stack = m + page;
    MakeContext(f);
    S.pool.push_back(f);
  }
}

float Bf(uint32_t u, int hi) { return std::bit_cast<float>(hi ? u & 0xffff0000u : u << 16); }

void Complete(Warp& w, Meet& m) {
  switch (m.op) {
    case Op::kSyncwarp:
      break;
    case Op::kVote: {
      uint32_t r = 0;
      for (int i = 0; i < 32; ++i)
        if ((m.mask >> i & 1) && w.in[i][0]) r |= 1u << i;
      for (int i = 0; i < 32; ++i) w.out[i][0] = r;
      break;
    }
    case Op::kShfl:
      for (int i = 0; i < 32; ++i) {
        if (!(m.mask >> i & 1)) continue;
        unsigned s = w.in[i][0];
        if (s > 31 || !(m.mask >> s & 1))
          Fail(m.loc, "lane %d shuffles from lane %u, which is not in mask %08x", i, s, m.mask);
        for (int k = 0; k < kMaxOut; ++k) w.out[i][k] = w.in[s][1 + k];
      }
      break;
    case Op::kLdmatrix: {  // in: address (2 words); out: 4 row numbers come back as lane ids, see
                           // ptx.cuh
      ++w.row_gen;
      for (int i = 0; i < 32; ++i) {
        w.row[w.row_gen & 1][i][0] = w.in[i][0];
        w.row[w.row_gen & 1][i][1] = w.in[i][1];
      }
      for (unsigned j = 0; j < m.imm; ++j) {
        uint32_t hit = 0;  // bank conflicts: the 8 rows of one matrix should fall in 8 different
                           // 16-byte bank groups
        for (int r = 0; r < 8; ++r) hit |= 1u << ((w.in[j * 8 + r][0] >> 4) & 7);
        ++stats().ldsm;
        stats().ldsm_conflicts += 8 - __builtin_popcount(hit);
      }
      break;
    }
    case Op::kMmaBf16: {  // in: a0..a3, b0, b1
      typedef float V8 __attribute__((vector_size(32)));
      float a[16][16], c[16][8];
      union {
        float bm[16][8];
        V8 bv[16];
      };
      for (int i = 0; i < 32; ++i) {
        int g = i >> 2, t = (i & 3) * 2;
        for (int h = 0; h < 2; ++h) {
          a[g][t + h] = Bf(w.in[i][0], h);
          a[g + 8][t + h] = Bf(w.in[i][1], h);
          a[g][t + 8 + h] = Bf(w.in[i][2], h);
          a[g + 8][t + 8 + h] = Bf(w.in[i][3], h);
          bm[t + h][g] = Bf(w.in[i][4], h);
          bm[t + 8 + h][g] = Bf(w.in[i][5], h);
        }
      }
      for (int r = 0; r < 16; ++r) {
        V8 s{};
        for (int k = 0; k < 16; ++k) s += a[r][k] * bv[k];
        __builtin_memcpy(c[r], &s, sizeof s);
      }
      for (int i = 0; i < 32; ++i) {
        int g = i >> 2, t = (i & 3) * 2;
        w.out[i][0] = std::bit_cast<uint32_t>(c[g][t]);
        w.out[i][1] = std::bit_cast<uint32_t>(c[g][t + 1]);
        w.out[i][2] = std::bit_cast<uint32_t>(c[g + 8][t]);
        w.out[i][3] = std::bit_cast<uint32_t>(c[g + 8][t + 1]);
      }
      break;
    }
  }
}
const char* OpName(Op o) {
  const char* n[] = {"__syncwarp", "__shfl_*_sync", "vote", "ldmatrix", "mma"};
  return n[static_cast<int>(o)];
}
}  // namespace

void Fail(Loc l, const char* fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  int at = vsnprintf(S.error, sizeof S.error, fmt, ap);
  va_end(ap);
  snprintf(S.error + at, sizeof S.error - static_cast<size_t>(at),
           " [%s:%u, kernel %s, block (%u,%u,%u) thread %d]", l.file, l.line, S.name, blockIdx.x,
           blockIdx.y, blockIdx.z, S.cur->tid);
  S.cur->st = St::kDone;
  SwitchTo(&S.main, true);
  abort();
}
int Lane() { return S.cur->tid & 31; }
void Yield(Loc l) {
  Ready(S.cur);
  S.cur->why = "yield";
  S.cur->loc = l;
  SwitchTo(Pick());
}
uint32_t Rand() {
  S.rng = Mix(S.rng);
  return static_cast<uint32_t>(S.rng >> 16);
}
bool CpEager() { return !options().cp_defer; }
void CpPush(CpOp op) { S.cur->cp.push_back(op); }
void CpCommit() { S.cur->groups.push_back(S.cur->cp.size()); }
int CpWait(int n, CpOp** ops) {
  Fiber* f = S.cur;
  size_t have = f->groups.size();
  if (have <= f->gdone + static_cast<size_t>(n)) return 0;
  f->gdone = have - static_cast<size_t>(n);
  size_t end = f->groups[f->gdone - 1], k = end - f->done;
  *ops = f->cp.p + f->done;
  f->done = end;
  return static_cast<int>(k);
}

void BarrierSync(int id, int nthreads, Loc l) {
  Bar& b = S.bars[id];
  if (b.arrived == 0) {
    b.loc = l;
    b.want = nthreads;
  } else if (b.loc.line != l.line || b.want != nthreads)
    Fail(l, "barrier %d reached from two places in one phase: line %u and line %u", id, b.loc.line,
         l.line);
  TSAN_REL(&b.sync);
  int need = nthreads ? nthreads : S.live;
  if (++b.arrived == need) {
    for (int t : b.waiting) Ready(S.th[t]);
    b.waiting.clear();
    b.arrived = 0;
    if (options().seed) {
      Ready(S.cur);
      S.cur->why = "barrier";
      S.cur->loc = l;
      SwitchTo(Pick());
    }
  } else {
    b.waiting.push_back(S.cur->tid);
    Block(id ? "named barrier" : "__syncthreads", l);
  }
  TSAN_ACQ(&b.sync);
}

void Collective(Op op, unsigned mask, const uint32_t* in, int nin, uint32_t* out, int nout,
                uint32_t imm, Loc l) {
  Fiber* me = S.cur;
  int lane = me->tid & 31;
  Warp& w = S.warps[me->tid >> 5];
  ++stats().collectives;
  if (!(mask >> lane & 1))
    Fail(l, "%s: lane %d calls it with mask %08x, which leaves it out", OpName(op), lane, mask);
  int have = std::min(32, S.n - (me->tid & ~31));
  if (have < 32 && (mask >> have))
    Fail(l, "%s: mask %08x names lanes that the block does not have", OpName(op), mask);
  Meet* m = nullptr;
  Meet* fr = nullptr;
  for (auto& x : w.meet) {
    if (!x.used) {
      if (!fr) fr = &x;
      continue;
    }
    if (x.mask == mask) {
      m = &x;
      break;
    }
    if (x.mask & mask)
      Fail(l, "%s with mask %08x overlaps %s with mask %08x waiting at line %u", OpName(op), mask,
           OpName(x.op), x.mask, x.loc.line);
  }
  if (!m) {
    m = fr;
    m->used = true;
    m->mask = mask;
    m->arrived = 0;
    m->op = op;
    m->imm = imm;
    m->loc = l;
  } else if (m->op != op || m->imm != imm || m->loc.line != l.line)
    Fail(l, "lanes of one warp are at different collectives: %s line %u and %s line %u",
         OpName(m->op), m->loc.line, OpName(op), l.line);
  for (int i = 0; i < nin; ++i) w.in[lane][i] = in[i];
  m->arrived |= 1u << lane;
  char* sync = &w.sync[m - w.meet];
  if (op == Op::kSyncwarp) TSAN_REL(sync);
  if (m->arrived == mask) {
    Complete(w, *m);
    m->used = false;
    int base = me->tid & ~31;
    for (int i = 0; i < 32; ++i)
      if ((mask >> i & 1) && i != lane) Ready(S.th[base + i]);
    if (options().seed) {
      Ready(me);
      SwitchTo(Pick());
    }
  } else {
    Block(OpName(op), l);
  }
  if (op == Op::kSyncwarp) TSAN_ACQ(sync);
  for (int i = 0; i < nout; ++i) out[i] = w.out[lane][i];
}

const void* LdsmRow(int i) {
  Warp& w = S.warps[S.cur->tid >> 5];
  const uint32_t* a =
      w.row[w.row_gen & 1][i];  // no lane can start the next one before all have read this
  return reinterpret_cast<const void*>(uint64_t{a[1]} << 32 | a[0]);
}
bool InSmem(const void* p, size_t n) {
  auto c = static_cast<const char*>(p);
  return c >= S.arena && c + n <= S.arena + S.arena_size;
}

// cursor is the offset the real kernel would have; the emulator's arena has room for red zones in
// between.
void* SmemTake(size_t& cursor, size_t bytes, size_t align, Loc l) {
  size_t off = (cursor + align - 1) & ~(align - 1);
  cursor = off + bytes;
  if (cursor > S.smem_limit)
    Fail(l, "shared memory: needs %zu bytes, launch gave %zu", cursor, S.smem_limit);
  size_t k = S.cur->smem_takes++;
  if (k >= S.takes.size()) {
    size_t at = S.takes.empty() ? kGuard : S.takes.back().off + S.takes.back().bytes + kGuard;
    size_t unit = align > 128 ? align : 128;  // same banks and alignment as on the device
    at = ((at + unit - 1) & ~(unit - 1)) + off % unit;
    if (at + bytes + kGuard > S.arena_size)
      Fail(l, "emulator arena too small: raise the slack in RunGrid");
    S.takes.push_back({at, bytes});
#if SIMT_ASAN
    __asan_unpoison_memory_region(S.arena + at, bytes);
#endif
  } else if (S.takes[k].bytes != bytes)
    Fail(l, "threads disagree on shared-memory array %zu", k);
  return S.arena + S.takes[k].off;
}

static void CheckGuards() {
  size_t prev = 0;
  for (size_t i = 0; i <= S.takes.size(); ++i) {
    size_t end = i < S.takes.size() ? S.takes[i].off : S.arena_size;
    if (end > prev && static_cast<unsigned char>(S.arena[prev]) == 0xFF &&
        !__builtin_memcmp(S.arena + prev, S.arena + prev + 1, end - prev - 1)) {
      if (i < S.takes.size()) prev = S.takes[i].off + S.takes[i].bytes;
      continue;
    }
    for (size_t p = prev; p < end; ++p)
      if (static_cast<unsigned char>(S.arena[p]) != 0xFF) {
        snprintf(S.error, sizeof S.error,
                 "write outside a shared-memory array in %s, block (%u,%u,%u): %zu bytes past the "
                 "end of array %d",
                 S.name, blockIdx.x, blockIdx.y, blockIdx.z, p - prev, static_cast<int>(i) - 1);
        return;
      }
    if (i < S.takes.size()) prev = S.takes[i].off + S.takes[i].bytes;
  }
}

namespace {
// Kernels are compiled with -ftz=true: numbers below the normal range count as zero.
class FlushToZero {
 public:
  FlushToZero() { _mm_setcsr(saved_ | 0x8040); }
  ~FlushToZero() { _mm_setcsr(saved_); }

 private:
  unsigned saved_ = _mm_getcsr();
};
}  // namespace

bool ValidLaunch(dim3 grid, dim3 block, size_t smem) {
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  return threads >= 1 && threads <= 1024 && block.z <= 64 && smem <= 227 * 1024 && grid.x >= 1 &&
         grid.x <= 0x7fffffff && grid.y >= 1 && grid.y <= 65535 && grid.z >= 1 && grid.z <= 65535;
}

const char* RunGrid(dim3 grid, dim3 block, size_t smem, void (*body)(void*), void* arg,
                    const char* name) {
  if (last_error[0]) return last_error;
  const FlushToZero flush;
  int n = static_cast<int>(block.x * block.y * block.z);
  Prepare(2 * n);
  S.n = n;
  S.body = body;
  S.arg = arg;
  S.name = name;
  S.smem_limit = smem;
  S.cur = &S.main;
  blockDim = {block.x, block.y, block.z};
  gridDim = {grid.x, grid.y, grid.z};
  if (!S.warps) S.warps = new Warp[32];
  S.nwarps = (n + 31) / 32;
#if SIMT_ASAN
  if (!S.main.stack) {
    pthread_attr_t at;
    void* base;
    size_t sz;
    pthread_getattr_np(pthread_self(), &at);
    pthread_attr_getstack(&at, &base, &sz);
    pthread_attr_destroy(&at);
    S.main.stack = static_cast<char*>(base);
    S.main.stack_size = sz;
  }
#endif
#if SIMT_TSAN
  S.main.tsan = __tsan_get_current_fiber();
#endif
  uint64_t nb = uint64_t{grid.x} * grid.y * grid.z, seed = options().seed;
  static thread_local Arr<uint32_t> order;
  order.clear();
  for (uint64_t i = 0; i < nb; ++i) order.push_back(static_cast<uint32_t>(i));
  if (seed)
    for (uint64_t i = nb; i > 1; --i) {
      uint64_t j = Mix(seed * 77 + i) % i;
      uint32_t x = order[i - 1];
      order[i - 1] = order[j];
      order[j] = x;
    }
  S.arena_size = (smem + 8 * 1024 + 1023) & ~size_t{1023};
  for (uint64_t q = 0; q < nb && !S.error[0]; ++q) {
    uint64_t b = order[q];
    blockIdx = {static_cast<unsigned>(b % grid.x), static_cast<unsigned>(b / grid.x % grid.y),
                static_cast<unsigned>(b / grid.x / grid.y)};
    S.rng = Mix(seed ^ Mix(b));
#if SIMT_TSAN
    // Fresh mapping: no access history, so blocks do not seem to race on it, yet races on global
    // memory between blocks show.
    S.arena = static_cast<char*>(
        mmap(nullptr, S.arena_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
#else
    if (S.arena_size > S.arena_cap) {
      free(S.arena);
      S.arena_cap = S.arena_size;
      S.arena = static_cast<char*>(aligned_alloc(1024, S.arena_cap));
    }
#endif
#if SIMT_MSAN
    __msan_poison(S.arena, S.arena_size);
#else
    __builtin_memset(S.arena, 0xFF,
                     S.arena_size);  // reads of unwritten shared memory give NaN / -1
#endif
#if SIMT_ASAN
    __asan_poison_memory_region(S.arena, S.arena_size);
#endif
    S.takes.clear();
    S.live = n;
    for (auto& bar : S.bars) {
      bar.arrived = 0;
      bar.waiting.clear();
    }
    for (int i = 0; i < S.nwarps; ++i)
      for (auto& m : S.warps[i].meet) m.used = false;
    S.ready.clear();
    for (int i = n - 1; i >= 0; --i) {
      // Neighbouring blocks use other fibers, so TSan sees same-numbered threads of two blocks as
      // two threads.
      Fiber* f = S.th[i] = S.pool[(static_cast<size_t>(i) + q * 32) % (2 * static_cast<size_t>(n))];
      f->tid = i;
      f->idx = {i % block.x, i / block.x % block.y, i / block.x / block.y};
      f->smem_takes = 0;
      f->cp.clear();
      f->groups.clear();
      f->done = f->gdone = 0;
#if SIMT_TSAN
      if (!f->tsan) f->tsan = __tsan_create_fiber(0);
#endif
      Ready(f);
    }
    TSAN_REL(&S.launch_sync);
    SwitchTo(Pick());
    ++stats().blocks;
#if SIMT_ASAN
    __asan_unpoison_memory_region(S.arena, S.arena_size);
#endif
#if !SIMT_MSAN
    if (!S.error[0]) CheckGuards();
#endif
#if SIMT_TSAN
    munmap(S.arena, S.arena_size);
#endif
  }
  TSAN_ACQ(&S.end_sync);
  if (S.error[0]) {
    __builtin_memcpy(last_error, S.error, sizeof last_error);
    fprintf(stderr, "simt: %s\n", last_error);
    S.error[0] = 0;
    S.pool.clear(); /* stacks of stuck fibers leak on purpose */
  }
  return last_error;
}
}  // namespace simt
