// Barriers of a block.
#include "engine.h"

namespace simt {
namespace {

void Open(Engine& e, Barrier& b) {
  for (int w = 0; w * kWarpLanes < e.grid->threads_per_block; ++w) FinishSharedAccesses(e, w);
  for (int thread : b.waiting) MakeReady(e, e.threads[thread]);
  b.waiting.clear();
  b.arrived = 0;
}

void CheckArrival(const Engine& e, const Barrier& b, int id, int threads, Loc l) {
  if (id < 0 || id >= kNamedBarriers) Fail(l, "barrier %d: a block has 16", id);
  if (threads % kWarpLanes != 0 || threads > e.grid->threads_per_block) {
    Fail(l, "barrier %d for %d threads: whole warps of the block only", id, threads);
  }
  if (b.arrived == 0) return;
  if (b.where.line != l.line || b.wanted != threads) {
    Fail(l, "barrier %d reached from two places in one phase: line %u and line %u", id,
         b.where.line, l.line);
  }
}

}  // namespace

void BarrierSync(int id, int threads, Loc l) {
  Engine& e = *CurrentEngine();
  Barrier& b = e.barriers[id & (kNamedBarriers - 1)];
  CheckArrival(e, b, id, threads, l);
  if (b.arrived == 0) {
    b.where = l;
    b.wanted = threads;
  }
  b.order.Release();
  ++b.arrived;
  if (b.arrived == (threads != 0 ? threads : e.live)) {
    Open(e, b);
    if (e.grid->seed != 0) LetOthersRun(e, "barrier", l);
  } else {
    b.waiting.push_back(e.current->id);
    Wait(e, id == 0 ? "__syncthreads" : "NamedBarrier", l);
  }
  b.order.Acquire();
}

void ThreadExited(Engine& e) {
  Thread& t = *e.current;
  if (t.copies.ops_made < t.copies.ops.size()) {
    Fail({"at its end", 0}, "the thread exits with cp.async still pending");
  }
  e.grid->end.Release();
  t.state = ThreadState::kExited;
  --e.live;
  Barrier& all = e.barriers[0];
  if (all.arrived != 0 && all.wanted == 0 && all.arrived == e.live) Open(e, all);
}

}  // namespace simt
