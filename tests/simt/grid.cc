// Runs the blocks of a grid, on one or more OS threads.
#include <pthread.h>

#include <cstdio>
#include <new>

#include "engine.h"
#include "error.h"
#include "float_mode.h"

namespace simt {
namespace {

constexpr int kMaxWorkers = 64;

// The blocks that are left, in the order that the seed gives.
struct BlockQueue {
  Grid* grid = nullptr;
  Array<uint32_t> order;
  uint64_t next = 0;
  bool failed = false;

  bool Take(uint64_t* at) {
    if (__atomic_load_n(&failed, __ATOMIC_RELAXED)) return false;
    *at = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED);
    return *at < order.size();
  }
};

struct Worker {
  Engine* engine = nullptr;
  BlockQueue* queue = nullptr;
  uint64_t failed_at = 0;  // place in the order, if engine->error says something
  pthread_t os_thread{};
};

constinit Options the_options;
constinit Stats the_stats;
constinit Engine* engines[kMaxWorkers] = {};

Engine* GetEngine(int i) {
  if (engines[i] == nullptr) engines[i] = new (RawMemory(sizeof(Engine))) Engine;
  return engines[i];
}

void FillOrder(Array<uint32_t>& order, uint64_t blocks, uint64_t seed) {
  order.clear();
  for (uint64_t i = 0; i < blocks; ++i) order.push_back(static_cast<uint32_t>(i));
  if (seed == 0) return;
  for (uint64_t i = blocks; i > 1; --i) {
    const uint64_t j = Mix(seed * 77 + i) % i;
    const uint32_t last = order[i - 1];
    order[i - 1] = order[j];
    order[j] = last;
  }
}

void EnsureThreads(Engine& e, int count) {
  while (static_cast<int>(e.pool.size()) < count) {
    Thread* t = new (RawMemory(sizeof(Thread))) Thread;
    t->fiber.Create(FiberMain);
    e.pool.push_back(t);
  }
}

// The block's threads on fibers that the block before used for other threads: TSan takes what one
// fiber does for ordered.
void StartThreads(Engine& e, uint64_t block_number) {
  constexpr uint64_t kShift = 33;
  const Grid& g = *e.grid;
  const auto n = static_cast<uint64_t>(g.threads_per_block);
  for (int i = g.threads_per_block - 1; i >= 0; --i) {
    Thread* t = e.pool[(static_cast<uint64_t>(i) + block_number * kShift) % (2 * n)];
    const auto u = static_cast<unsigned>(i);
    t->id = i;
    t->index = {u % g.threads.x, u / g.threads.x % g.threads.y, u / g.threads.x / g.threads.y};
    t->arrays_taken = 0;
    t->copies.Clear();
    e.threads[i] = t;
    MakeReady(e, t);
  }
}

void ResetBlock(Engine& e) {
  e.ready.clear();
  e.live = e.grid->threads_per_block;
  for (Barrier& b : e.barriers) {
    b.arrived = 0;
    b.waiting.clear();
  }
  for (Warp& w : e.warps) {
    for (Meeting& m : w.meetings) m.open = false;
  }
}

void ReportDamage(Engine& e) {
  const SharedMemory::Damage d = e.smem.FindDamage();
  if (!d.found) return;
  snprintf(e.error, kErrorBytes,
           "write outside a shared-memory array in %s, block (%u,%u,%u): %zu bytes past the end of "
           "array %d",
           e.grid->name, blockIdx.x, blockIdx.y, blockIdx.z, d.offset, d.array);
}

void RunBlock(Engine& e, uint32_t block, uint64_t number) {
  const U3& blocks = e.grid->blocks;
  blockIdx = {block % blocks.x, block / blocks.x % blocks.y, block / blocks.x / blocks.y};
  e.random = Mix(e.grid->seed ^ Mix(block));
  ResetBlock(e);
  e.smem.Open(e.grid->smem_bytes);
  StartThreads(e, number);
  e.grid->start.Release();
  SwitchToNext(e);
  for (int w = 0; w * kWarpLanes < e.grid->threads_per_block; ++w) FinishSharedAccesses(e, w);
  ++e.stats.blocks;
  if (e.error[0] == '\0') ReportDamage(e);
  e.smem.Close();
}

void RunBlocks(Worker& w) {
  const FlushToZero flush;
  Engine& e = *w.engine;
  e.grid = w.queue->grid;
  e.current = &e.main;
  e.main.fiber.AdoptThread();
  blockDim = e.grid->threads;
  gridDim = e.grid->blocks;
  SetCurrentEngine(&e);
  EnsureThreads(e, 2 * e.grid->threads_per_block);
  uint64_t at = 0;
  for (uint64_t number = 0; e.error[0] == '\0' && w.queue->Take(&at); ++number) {
    RunBlock(e, w.queue->order[at], number);
  }
  w.failed_at = at;
  if (e.error[0] != '\0') __atomic_store_n(&w.queue->failed, true, __ATOMIC_RELAXED);
  SetCurrentEngine(nullptr);
}

void* RunWorker(void* worker) {
  RunBlocks(*static_cast<Worker*>(worker));
  return nullptr;
}

// The failure of the first block in the order, of those that were seen to fail.
void TakeError(Worker* workers, int count) {
  const Worker* first = nullptr;
  for (int i = 0; i < count; ++i) {
    const Worker& w = workers[i];
    if (w.engine->error[0] == '\0') continue;
    if (first == nullptr || w.failed_at < first->failed_at) first = &w;
  }
  if (first == nullptr) return;
  SetError(first->engine->error);
  for (int i = 0; i < count; ++i) {
    Engine& e = *workers[i].engine;
    if (e.error[0] == '\0') continue;
    e.error[0] = '\0';
    for (Thread* t : e.pool) t->fiber.Create(FiberMain);  // some are stuck in the kernel
  }
}

void AddStats(Stats& s) {
  the_stats.blocks += s.blocks;
  the_stats.switches += s.switches;
  the_stats.collectives += s.collectives;
  the_stats.ldsm += s.ldsm;
  the_stats.ldsm_conflicts += s.ldsm_conflicts;
  the_stats.smem += s.smem;
  the_stats.smem_conflicts += s.smem_conflicts;
  s = {};
}

int WorkersFor(uint64_t blocks) {
  const int wanted = the_options.workers < kMaxWorkers ? the_options.workers : kMaxWorkers;
  const uint64_t useful = blocks / 2 > 0 ? blocks / 2 : 1;
  return wanted < 1                               ? 1
         : static_cast<uint64_t>(wanted) < useful ? wanted
                                                  : static_cast<int>(useful);
}

}  // namespace

Options& options() { return the_options; }
Stats& stats() { return the_stats; }

bool ValidLaunch(dim3 grid, dim3 block, size_t smem) {
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  return threads >= 1 && threads <= kMaxThreads && block.z <= 64 && smem <= 227 * 1024 &&
         grid.x >= 1 && grid.x <= 0x7fffffff && grid.y >= 1 && grid.y <= 65535 && grid.z >= 1 &&
         grid.z <= 65535;
}

void RunGrid(dim3 grid, dim3 block, size_t smem, void (*body)(void*), void* arg, const char* name) {
  static Grid g;
  static BlockQueue queue;
  g.body = body;
  g.arg = arg;
  g.name = name;
  g.blocks = {grid.x, grid.y, grid.z};
  g.threads = {block.x, block.y, block.z};
  g.threads_per_block = static_cast<int>(block.x * block.y * block.z);
  g.smem_bytes = smem;
  g.seed = the_options.seed;
  const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
  queue.grid = &g;
  queue.next = 0;
  queue.failed = false;
  FillOrder(queue.order, blocks, g.seed);

  Worker workers[kMaxWorkers];
  const int count = WorkersFor(blocks);
  for (int i = 0; i < count; ++i) workers[i] = {GetEngine(i), &queue, 0, {}};
  int started = 1;
  while (started < count &&
         pthread_create(&workers[started].os_thread, nullptr, RunWorker, &workers[started]) == 0) {
    ++started;
  }
  RunBlocks(workers[0]);
  for (int i = 1; i < started; ++i) pthread_join(workers[i].os_thread, nullptr);
  g.end.Acquire();
  for (int i = 0; i < started; ++i) AddStats(workers[i].engine->stats);
  TakeError(workers, started);
}

}  // namespace simt
