// gemm of ops.h for the tier whose file includes this: how rows, columns and k are blocked.
// Blocking never changes a bit, since an accumulator that is stored between two chunks of k goes on
// where it was.
#pragma once

#include "kernels/cpu/gemm_micro.h"
#include "kernels/cpu/scratch.h"
#include "kernels/ops.h"

namespace lynx {
namespace {

// Rows that are worked on together: their accumulators of one panel (24 KB) stay in L2, and the
// weights are read from memory once for so many rows.
inline constexpr int64_t kBlockRows = 96;
// 16 KB of a panel: it and the next chunk fit L1. As fast as 32 KB with many rows, faster for 2
// to 12.
inline constexpr int64_t kChunkPairs = 64;

// One row streams through a panel from end to end, four vectors abreast; then the hardware needs
// help only at page borders. More rows pass over a chunk strip by strip, each of which asks for its
// part of the next chunk: line after line, since the hardware's own prefetch follows a sequence
// only.
inline constexpr int64_t kStreamAheadBytes = 2048;
inline constexpr int64_t kChunkAheadBytes = kChunkPairs * kPairBytes;

struct Scratch {
  Activation* rows = nullptr;  // [kBlockRows, lda]
  int64_t lda = 0;
  float* acc = nullptr;       // [kBlockRows, 64]
  float* unpacked = nullptr;  // [2 * kChunkPairs, strip columns]
};

// A row's length in scratch: whole pairs, and not a multiple of 4 KB, where all rows would share
// one cache set.
LYNX_SIMD int64_t ScratchStride(int64_t k) { return (k + 15) / 16 * 16 + 16; }

LYNX_SIMD Scratch GetScratch(int64_t m, int64_t k) {
  Scratch s;
  s.lda = ScratchStride(k);
  const int64_t rows = m < kBlockRows ? m : kBlockRows;
  const int64_t row_bytes = rows * s.lda * static_cast<int64_t>(sizeof(Activation));
  const int64_t row_space = (row_bytes + 63) / 64 * 64;
  constexpr int64_t kAccBytes = kBlockRows * kPanelColumns * sizeof(float);
  constexpr int64_t kUnpackedBytes = 2 * kChunkPairs * kPanelColumns * sizeof(float);
  std::byte* p = ThreadScratch(static_cast<size_t>(row_space + kAccBytes + kUnpackedBytes));
  s.acc = reinterpret_cast<float*>(p);
  s.unpacked = reinterpret_cast<float*>(p + kAccBytes);
  s.rows = reinterpret_cast<Activation*>(p + kAccBytes + kUnpackedBytes);
  return s;
}

// Copies rows into scratch as the inner loops want them, the last pair filled up with zero.
void PrepareRows(const GemmArgs& args, int64_t begin, int64_t count, const Scratch& s) {
  const int64_t k = args.w->k;
  for (int64_t r = 0; r < count; ++r) {
    const bf16* from = args.a + (begin + r) * args.lda;
    Activation* to = s.rows + r * s.lda;
#ifdef LYNX_AVX512_BF16
    std::memcpy(to, from, static_cast<size_t>(k) * sizeof(bf16));
    to[k] = bf16{0};
#else
    int64_t i = 0;
    for (; i + kLanes <= k; i += kLanes) Store(to + i, LoadBf16(from + i));
    for (; i < k; ++i) to[i] = ToFloat(from[i]);
    to[k] = 0;
#endif
  }
}

template <int kRows, int kVecs, bool kUnpacked>
LYNX_SIMD void CallMicro(int64_t rows, const MicroArgs& args) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return CallMicro<kRows - 1, kVecs, kUnpacked>(rows, args);
  }
#ifndef LYNX_AVX512_BF16
  if constexpr (kUnpacked) return MicroUnpacked<kRows, kVecs>(args);
#endif
  Micro<kRows, kVecs>(args);
}

// Rows [0, rows) of scratch times one panel, into s.acc. Strips of kVecs vectors, row blocks of at
// most kMaxRows.
template <int kMaxRows, int kVecs, bool kUnpacked>
void MultiplyPanel(const bf16* panel, int64_t pairs, int64_t rows, const Scratch& s) {
  constexpr bool kStream = kVecs == kPanelColumns / kLanes && !kUnpacked;
  const int64_t blocks = (rows + kMaxRows - 1) / kMaxRows;
  for (int64_t begin = 0; begin < pairs; begin += kChunkPairs) {
    const int64_t count = pairs - begin < kChunkPairs ? pairs - begin : kChunkPairs;
    const char* ahead = reinterpret_cast<const char*>(panel + begin * kPanelColumns * 2) +
                        (kStream ? kStreamAheadBytes : kChunkAheadBytes);
    for (int strip = 0; strip < kPanelColumns; strip += kVecs * kLanes) {
      MicroArgs micro;
      micro.lda = s.lda;
      micro.w = panel + (begin * kPanelColumns + strip) * 2;
      micro.pairs = count;
      micro.first = begin == 0;
      micro.prefetch = ahead + strip / kLanes * count * 64;
#ifndef LYNX_AVX512_BF16
      if constexpr (kUnpacked) Unpack<kVecs>(micro.w, count, micro.prefetch, s.unpacked);
#endif
      micro.unpacked = s.unpacked;
      for (int64_t b = 0; b < blocks; ++b) {
        const int64_t row = rows * b / blocks;
        micro.a = s.rows + row * s.lda + begin * 2;
        micro.acc = s.acc + row * kPanelColumns + strip;
        CallMicro<kMaxRows, kVecs, kUnpacked>(rows * (b + 1) / blocks - row, micro);
        micro.prefetch = nullptr;  // the first block of rows has asked for everything
      }
    }
  }
}

// The block shapes that fill this tier's registers, for each number of rows.
LYNX_SIMD void MultiplyPanelFor(const bf16* panel, int64_t pairs, int64_t rows, const Scratch& s) {
#if defined(LYNX_AVX512_BF16)
  if (rows > 6 && rows <= 12) return MultiplyPanel<12, 2, false>(panel, pairs, rows, s);
  MultiplyPanel<6, 4, false>(panel, pairs, rows, s);
#elif defined(LYNX_AVX512)
  if (rows <= 6) return MultiplyPanel<6, 4, false>(panel, pairs, rows, s);
  if (rows < 4 * 12) return MultiplyPanel<12, 2, false>(panel, pairs, rows, s);
  MultiplyPanel<12, 2, true>(panel, pairs, rows, s);
#else
  if (rows == 1) return MultiplyPanel<1, 4, false>(panel, pairs, rows, s);
  if (rows == 2) return MultiplyPanel<2, 2, false>(panel, pairs, rows, s);
  if (rows < 4 * 6) return MultiplyPanel<6, 1, false>(panel, pairs, rows, s);
  MultiplyPanel<6, 1, true>(panel, pairs, rows, s);
#endif
}

// c = acc, plus bias, plus the old c: 16 or fewer columns of one row.
LYNX_SIMD void Finish(const GemmArgs& args, F32x16 sum, float* c, int64_t column, int64_t count) {
  const bool part = count < kLanes;
  auto load = [&](const float* p) { return part ? LoadPart(p, count) : Load(p); };
  if (args.bias != nullptr) sum = sum + load(args.bias + column);
  if (args.accumulate) sum = sum + load(c);
  if (part) {
    StorePart(c, sum, count);
  } else {
    Store(c, sum);
  }
}

void FinishPanel(const GemmArgs& args, int64_t row_begin, int64_t rows, int64_t column,
                 const float* acc) {
  const int64_t rest = args.w->n - column;
  const int64_t columns = rest < kPanelColumns ? rest : kPanelColumns;
  for (int64_t r = 0; r < rows; ++r) {
    float* c = args.c + (row_begin + r) * args.ldc + column;
    for (int64_t j = 0; j < columns; j += kLanes) {
      const int64_t count = columns - j < kLanes ? columns - j : kLanes;
      Finish(args, Load(acc + r * kPanelColumns + j), c + j, column + j, count);
    }
  }
}

void Gemm(const GemmArgs& args, int64_t panel_begin, int64_t panel_end) {
  const int64_t pairs = (args.w->k + 1) / 2;
  const Scratch s = GetScratch(args.m, args.w->k);
  for (int64_t row = 0; row < args.m; row += kBlockRows) {
    const int64_t rows = args.m - row < kBlockRows ? args.m - row : kBlockRows;
    PrepareRows(args, row, rows, s);
    for (int64_t panel = panel_begin; panel < panel_end; ++panel) {
      MultiplyPanelFor(args.w->data + panel * pairs * kPanelColumns * 2, pairs, rows, s);
      FinishPanel(args, row, rows, panel * kPanelColumns, s.acc);
    }
  }
}

}  // namespace
}  // namespace lynx
