// The block that is being run, and what is kept from one block to the next. Used by the emulator's
// own files only.
#pragma once

#include "api.h"
#include "array.h"
#include "fiber.h"
#include "sanitizers.h"
#include "shared_memory.h"

namespace simt {

constexpr int kMaxThreads = 1024;
constexpr int kWarpLanes = 32;
constexpr int kMaxInWords = 8;
constexpr int kMaxOutWords = 4;
constexpr int kNamedBarriers = 16;
constexpr size_t kErrorBytes = 2048;

// One grid, as its blocks see it.
struct Grid {
  void (*body)(void*) = nullptr;
  void* arg = nullptr;
  const char* name = "";
  U3 blocks{};
  U3 threads{};
  int threads_per_block = 0;
  size_t smem_bytes = 0;
  uint64_t seed = 0;
  SyncPoint start;  // the OS thread is before the blocks that it starts
  SyncPoint end;    // every block is before the launch's end; blocks are not ordered
};

// cp.async copies of one thread, in order.
struct CopyQueue {
  Array<CpOp> ops;
  Array<size_t> group_ends;
  size_t ops_made = 0;
  size_t groups_made = 0;

  void Clear();
  void Shrink();
};

enum class ThreadState : uint8_t { kReady, kWaiting, kExited };

struct Thread {
  Fiber fiber;
  int id = 0;  // in the block
  U3 index{};
  ThreadState state = ThreadState::kReady;
  const char* waits_in = "";
  Loc waits_at;
  size_t arrays_taken = 0;
  CopyQueue copies;
};

// Lanes of a warp that come together.
struct Meeting {
  unsigned mask = 0;
  unsigned arrived = 0;
  Op op{};
  uint32_t imm = 0;
  Loc where;
  bool open = false;
  SyncPoint order;
};

struct Warp {
  static constexpr int kMeetings = 8;  // of disjoint masks at one time
  Meeting meetings[kMeetings];
  uint32_t in[kWarpLanes][kMaxInWords];
  uint32_t out[kWarpLanes][kMaxOutWords];
  const void* ldmatrix_rows[kWarpLanes];
};

struct Barrier {
  int arrived = 0;
  int wanted = 0;  // 0: all that have not exited
  Loc where;
  Array<int> waiting;
  SyncPoint order;
};

// Shared-memory accesses that a warp makes together, until all its lanes have come.
struct SharedAccess {
  unsigned line = 0;
  uint32_t bytes = 0;  // of each lane
  unsigned lanes = 0;
  uint32_t words[kWarpLanes] = {};  // addresses / 4
};

struct Engine {
  Array<Thread*> pool;           // with stacks; more than a block needs, see StartThreads
  Thread* threads[kMaxThreads];  // thread i of this block
  Array<int> ready;
  Warp warps[kMaxThreads / kWarpLanes];
  Array<SharedAccess> accesses[kMaxThreads / kWarpLanes];
  Barrier barriers[kNamedBarriers];
  SharedMemory smem;
  Thread main;  // the OS thread
  Thread* current = nullptr;
  Grid* grid = nullptr;
  int live = 0;  // threads that have not exited
  char error[kErrorBytes] = {};
  uint64_t random = 0;
  Stats stats;
};

// The engine that this OS thread runs; nullptr outside of a grid.
Engine* CurrentEngine();
void SetCurrentEngine(Engine* engine);

uint64_t Mix(uint64_t x);  // a hash

// ---- scheduler.cc
void MakeReady(Engine& e, Thread* t);
void Wait(Engine& e, const char* what, Loc l);  // until somebody makes the thread ready
void LetOthersRun(Engine& e, const char* what, Loc l);
void SwitchToNext(Engine& e);
void FiberMain();

// ---- barrier.cc
void ThreadExited(Engine& e);

// ---- warp_ops.cc: computes `out` of the lanes of m.mask.
void Complete(Engine& e, Warp& w, const Meeting& m);
const char* Name(Op op);

// ---- smem_access.cc
// What the lanes of a warp have in common ends where they meet.
void FinishSharedAccesses(Engine& e, int warp);

}  // namespace simt
