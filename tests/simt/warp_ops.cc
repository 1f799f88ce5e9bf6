// What a collective computes when the last lane has come.
#include <bit>

#include "engine.h"

namespace simt {
namespace {

bool Has(unsigned mask, int lane) { return (mask >> lane & 1) != 0; }

// in: source lane, value.
void Shuffle(Warp& w, const Meeting& m) {
  for (int i = 0; i < kWarpLanes; ++i) {
    if (!Has(m.mask, i)) continue;
    const uint32_t source = w.in[i][0];
    if (source >= kWarpLanes || !Has(m.mask, static_cast<int>(source))) {
      Fail(m.where, "lane %d shuffles from lane %u, which is not in mask %08x", i, source, m.mask);
    }
    for (int k = 0; k < kMaxOutWords; ++k) w.out[i][k] = w.in[source][1 + k];
  }
}

void SetAll(Warp& w, const Meeting& m, uint32_t value) {
  for (int i = 0; i < kWarpLanes; ++i) {
    if (Has(m.mask, i)) w.out[i][0] = value;
  }
}

void Vote(Warp& w, const Meeting& m) {
  uint32_t result = 0;
  for (int i = 0; i < kWarpLanes; ++i) {
    if (Has(m.mask, i) && w.in[i][0] != 0) result |= 1u << i;
  }
  SetAll(w, m, result);
}

uint32_t Reduced(Reduce how, uint32_t a, uint32_t b) {
  const auto sa = static_cast<int32_t>(a);
  const auto sb = static_cast<int32_t>(b);
  switch (how) {
    case Reduce::kAdd:
      return a + b;
    case Reduce::kMinSigned:
      return sa < sb ? a : b;
    case Reduce::kMaxSigned:
      return sa > sb ? a : b;
    case Reduce::kMin:
      return a < b ? a : b;
    case Reduce::kMax:
      return a > b ? a : b;
    case Reduce::kAnd:
      return a & b;
    case Reduce::kOr:
      return a | b;
    case Reduce::kXor:
      return a ^ b;
  }
  __builtin_trap();
}

void ReduceAll(Warp& w, const Meeting& m) {
  const int first = std::countr_zero(m.mask);
  uint32_t result = w.in[first][0];
  for (int i = first + 1; i < kWarpLanes; ++i) {
    if (Has(m.mask, i)) result = Reduced(static_cast<Reduce>(m.imm), result, w.in[i][0]);
  }
  SetAll(w, m, result);
}

// in: value of two words; out: the lanes that have the same.
void Match(Warp& w, const Meeting& m) {
  for (int i = 0; i < kWarpLanes; ++i) {
    if (!Has(m.mask, i)) continue;
    uint32_t same = 0;
    for (int j = 0; j < kWarpLanes; ++j) {
      const bool equal = w.in[i][0] == w.in[j][0] && w.in[i][1] == w.in[j][1];
      if (Has(m.mask, j) && equal) same |= 1u << j;
    }
    w.out[i][0] = same;
  }
}

// in: the address of lane's row, low word first. imm: matrices of 8 rows, which should lie in the 8
// different groups of four banks.
void TakeLdmatrixRows(Engine& e, Warp& w, const Meeting& m) {
  for (int i = 0; i < kWarpLanes; ++i) {
    w.ldmatrix_rows[i] =
        reinterpret_cast<const void*>(uint64_t{w.in[i][1]} << 32 | uint64_t{w.in[i][0]});
  }
  for (unsigned j = 0; j < m.imm; ++j) {
    uint32_t groups = 0;
    for (unsigned row = 0; row < 8; ++row) groups |= 1u << ((w.in[j * 8 + row][0] >> 4) & 7);
    ++e.stats.ldsm;
    e.stats.ldsm_conflicts += static_cast<uint64_t>(8 - std::popcount(groups));
  }
}

float Bf16Half(uint32_t pair, int half) {
  return std::bit_cast<float>(half != 0 ? pair & 0xffff0000u : pair << 16);
}

// The fragments as the PTX manual lays them out (mma.m16n8k16, .bf16): lane = 4 * group + thread.
// in: a0..a3, b0, b1; out: a * b, to be added to the lane's accumulators.
void MmaM16N8K16(Warp& w) {
  typedef float Row __attribute__((vector_size(32)));  // n = 8
  float a[16][16];                                     // [m][k]
  float b[16][8];                                      // [k][n]
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    const int group = lane / 4;
    const int pair = lane % 4 * 2;
    for (int h = 0; h < 2; ++h) {
      a[group][pair + h] = Bf16Half(w.in[lane][0], h);
      a[group + 8][pair + h] = Bf16Half(w.in[lane][1], h);
      a[group][pair + 8 + h] = Bf16Half(w.in[lane][2], h);
      a[group + 8][pair + 8 + h] = Bf16Half(w.in[lane][3], h);
      b[pair + h][group] = Bf16Half(w.in[lane][4], h);
      b[pair + 8 + h][group] = Bf16Half(w.in[lane][5], h);
    }
  }
  float c[16][8];
  for (int m = 0; m < 16; ++m) {
    Row sum{};
    for (int k = 0; k < 16; ++k) {
      Row row;
      __builtin_memcpy(&row, b[k], sizeof row);
      sum += a[m][k] * row;
    }
    __builtin_memcpy(c[m], &sum, sizeof sum);
  }
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    const int group = lane / 4;
    const int pair = lane % 4 * 2;
    for (int i = 0; i < 4; ++i) {
      w.out[lane][i] = std::bit_cast<uint32_t>(c[group + i / 2 * 8][pair + i % 2]);
    }
  }
}

}  // namespace

const char* Name(Op op) {
  static constexpr const char* kNames[] = {
      "__syncwarp",     "__shfl_*_sync", "a vote", "__reduce_*_sync",
      "__match_*_sync", "ldmatrix",      "mma"};
  return kNames[static_cast<int>(op)];
}

void Complete(Engine& e, Warp& w, const Meeting& m) {
  switch (m.op) {
    case Op::kSyncwarp:
      return;
    case Op::kShfl:
      return Shuffle(w, m);
    case Op::kVote:
      return Vote(w, m);
    case Op::kReduce:
      return ReduceAll(w, m);
    case Op::kMatch:
      return Match(w, m);
    case Op::kLdmatrix:
      return TakeLdmatrixRows(e, w, m);
    case Op::kMmaBf16:
      return MmaM16N8K16(w);
  }
}

}  // namespace simt
