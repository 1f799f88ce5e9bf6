// Where the lanes of a warp meet. No order of memory comes with it, except by __syncwarp: what a
// shuffle or an mma seems to order is a race on a device, and TSan shows it.
#include "engine.h"

namespace simt {
namespace {

void CheckMask(const Engine& e, Op op, unsigned mask, int lane, Loc l) {
  if ((mask >> lane & 1) == 0) {
    Fail(l, "%s: lane %d calls it with mask %08x, which leaves it out", Name(op), lane, mask);
  }
  const int first = e.current->id - lane;
  const int lanes = e.grid->threads_per_block - first;
  if (lanes < kWarpLanes && (mask >> lanes) != 0) {
    Fail(l, "%s: mask %08x names lanes that the block does not have", Name(op), mask);
  }
}

// The meeting of this mask, or a free one.
Meeting& FindMeeting(Warp& w, Op op, unsigned mask, Loc l) {
  Meeting* free = nullptr;
  for (Meeting& m : w.meetings) {
    if (!m.open) {
      if (free == nullptr) free = &m;
    } else if (m.mask == mask) {
      return m;
    } else if ((m.mask & mask) != 0) {
      Fail(l, "%s with mask %08x overlaps %s with mask %08x waiting at line %u", Name(op), mask,
           Name(m.op), m.mask, m.where.line);
    }
  }
  if (free == nullptr) Fail(l, "%s: too many collectives at once in one warp", Name(op));
  return *free;
}

void Join(Meeting& m, Op op, unsigned mask, uint32_t imm, Loc l) {
  if (!m.open) {
    m.open = true;
    m.mask = mask;
    m.arrived = 0;
    m.op = op;
    m.imm = imm;
    m.where = l;
  } else if (m.op != op || m.imm != imm || m.where.line != l.line) {
    Fail(l, "lanes of one warp are at different collectives: %s line %u and %s line %u", Name(m.op),
         m.where.line, Name(op), l.line);
  }
}

void ReleaseOthers(Engine& e, const Meeting& m, int lane) {
  const int first = e.current->id - lane;
  for (int i = 0; i < kWarpLanes; ++i) {
    if ((m.mask >> i & 1) != 0 && i != lane) MakeReady(e, e.threads[first + i]);
  }
}

}  // namespace

void Collective(Op op, unsigned mask, const uint32_t* in, int in_words, uint32_t* out,
                int out_words, uint32_t imm, Loc l) {
  Engine& e = *CurrentEngine();
  const int lane = e.current->id % kWarpLanes;
  Warp& w = e.warps[e.current->id / kWarpLanes];
  ++e.stats.collectives;
  CheckMask(e, op, mask, lane, l);
  Meeting& m = FindMeeting(w, op, mask, l);
  Join(m, op, mask, imm, l);
  for (int i = 0; i < in_words; ++i) w.in[lane][i] = in[i];
  m.arrived |= 1u << lane;
  if (op == Op::kSyncwarp) m.order.Release();
  if (m.arrived == mask) {
    Complete(e, w, m);
    m.open = false;
    if (mask == ~0u) FinishSharedAccesses(e, e.current->id / kWarpLanes);
    ReleaseOthers(e, m, lane);
    if (e.grid->seed != 0) LetOthersRun(e, Name(op), l);
  } else {
    Wait(e, Name(op), l);
  }
  if (op == Op::kSyncwarp) m.order.Acquire();
  for (int i = 0; i < out_words; ++i) out[i] = w.out[lane][i];
}

const void* LdmatrixRow(int lane) {
  const Engine& e = *CurrentEngine();
  // Stays until the warp's next ldmatrix, which needs every lane to have read its rows of this one.
  return e.warps[e.current->id / kWarpLanes].ldmatrix_rows[lane];
}

}  // namespace simt
