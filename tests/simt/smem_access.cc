// Shared memory as kernels use it: its arrays, and the bank conflicts of plain accesses.
#include "engine.h"

namespace simt {
namespace {

constexpr uint32_t kBanks = 32;

// Turns beyond the first that one group of lanes takes: in each bank, every further word waits.
uint32_t ExtraTurns(const SharedAccess& a, int first_lane, int lanes) {
  uint32_t words[kWarpLanes * 4];
  int count = 0;
  uint8_t in_bank[kBanks] = {};
  uint32_t turns = 1;
  for (int lane = first_lane; lane < first_lane + lanes; ++lane) {
    if ((a.lanes >> lane & 1) == 0) continue;
    for (uint32_t k = 0; k < (a.bytes + 3) / 4; ++k) {
      const uint32_t word = a.words[lane] + k;
      bool seen = false;  // lanes that read the same word share it
      for (int i = 0; i < count && !seen; ++i) seen = words[i] == word;
      if (seen) continue;
      words[count++] = word;
      const uint32_t turn = ++in_bank[word % kBanks];
      if (turn > turns) turns = turn;
    }
  }
  return turns - 1;
}

// 16-byte accesses are made by 8 lanes at a time, 8-byte ones by 16.
void Count(Engine& e, const SharedAccess& a) {
  const int lanes = a.bytes <= 4 ? 32 : a.bytes <= 8 ? 16 : 8;
  ++e.stats.smem;
  for (int first = 0; first < kWarpLanes; first += lanes) {
    e.stats.smem_conflicts += ExtraTurns(a, first, lanes);
  }
}

// Word by word: TSan would take a call of memmove for a thread's own access, and every thread of
// the block comes here.
void Move(const SharedAccess& from, SharedAccess& to) {
  static_assert(sizeof(SharedAccess) % sizeof(uint32_t) == 0);
  const auto* source = reinterpret_cast<const volatile uint32_t*>(&from);
  auto* target = reinterpret_cast<volatile uint32_t*>(&to);
  for (size_t i = 0; i < sizeof(SharedAccess) / sizeof(uint32_t); ++i) target[i] = source[i];
}

}  // namespace

void* SmemTake(size_t& cursor, size_t bytes, size_t align, Loc l) {
  Engine& e = *CurrentEngine();
  if (align == 0 || (align & (align - 1)) != 0) Fail(l, "shared memory: no alignment: %zu", align);
  const size_t offset = (cursor + align - 1) & ~(align - 1);
  cursor = offset + bytes;
  if (cursor > e.smem.limit_bytes()) {
    Fail(l, "shared memory: needs %zu bytes, the launch gave %zu", cursor, e.smem.limit_bytes());
  }
  const size_t i = e.current->arrays_taken++;
  if (i < e.smem.arrays()) {
    if (e.smem.range(i).bytes != bytes) Fail(l, "threads disagree on shared-memory array %zu", i);
    return e.smem.address(i);
  }
  char* array = e.smem.Add(offset, bytes, align);
  if (array == nullptr) Fail(l, "shared memory: more arrays than the emulator has room for");
  return array;
}

bool InSmem(const void* p, size_t bytes) { return CurrentEngine()->smem.Contains(p, bytes); }

void CountSharedAccess(const void* p, size_t bytes, Loc l) {
  Engine& e = *CurrentEngine();
  if (!InSmem(p, bytes)) Fail(l, "the address is not shared memory");
  const unsigned lane = 1u << (e.current->id % kWarpLanes);
  Array<SharedAccess>& open = e.accesses[e.current->id / kWarpLanes];
  // A lane joins the oldest access of this line that it is not part of yet.
  size_t i = 0;
  while (i < open.size() && (open[i].line != l.line || (open[i].lanes & lane) != 0)) ++i;
  if (i == open.size()) open.push_back({l.line, static_cast<uint32_t>(bytes), 0, {}});
  open[i].lanes |= lane;
  open[i].words[e.current->id % kWarpLanes] =
      static_cast<uint32_t>(reinterpret_cast<uintptr_t>(p) / 4);
  if (open[i].lanes != ~0u) return;
  Count(e, open[i]);
  for (; i + 1 < open.size(); ++i) Move(open[i + 1], open[i]);
  open.pop_back();
}

void FinishSharedAccesses(Engine& e, int warp) {
  for (const SharedAccess& a : e.accesses[warp]) Count(e, a);
  e.accesses[warp].clear();
}

}  // namespace simt
