// The inner loops of gemm: a block of rows times a strip of a panel's columns over a chunk of k,
// accumulators in registers. Each accumulator is one chain of fused multiply-adds, the odd member
// of a pair first, then the even one: what vdpbf16ps does, so that all tiers have its bits.
#pragma once

#include "kernels/cpu/load_again.h"
#include "kernels/cpu/simd.h"
#include "kernels/ops.h"

namespace lynx {
namespace {

inline constexpr int64_t kPairBytes = kPanelColumns * 2 * sizeof(bf16);  // of a panel, for two k

// What the row operand is kept as while a block of rows is worked on.
#ifdef LYNX_AVX512_BF16
using Activation = bf16;
#else
using Activation = float;
#endif

struct MicroArgs {
  const Activation* a = nullptr;  // [rows, 2 * pairs], row stride lda
  int64_t lda = 0;
  const bf16* w = nullptr;  // the panel at the chunk's first pair and the strip's first column
  const float* unpacked = nullptr;  // or [2 * pairs, strip columns], the same as float
  int64_t pairs = 0;
  float* acc = nullptr;            // [rows, 64] at the strip's first column
  bool first = false;              // the chunk is k's first: start from zero instead of acc
  const char* prefetch = nullptr;  // memory to ask for meanwhile, strip columns / 16 lines a pair
};

template <int kRows, int kVecs>
LYNX_SIMD void LoadAccumulators(const MicroArgs& args, F32x16 (&acc)[kRows][kVecs]) {
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) {
      acc[r][v] = args.first ? F32x16(0.0f) : Load(args.acc + r * kPanelColumns + v * kLanes);
    }
  }
}

template <int kRows, int kVecs>
LYNX_SIMD void StoreAccumulators(const MicroArgs& args, const F32x16 (&acc)[kRows][kVecs]) {
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) Store(args.acc + r * kPanelColumns + v * kLanes, acc[r][v]);
  }
}

template <int kVecs>
LYNX_SIMD void PrefetchLines(const char*& p) {
#pragma GCC unroll 4
  for (int v = 0; v < kVecs; ++v, p += 64) _mm_prefetch(p, _MM_HINT_T0);
}

#ifdef LYNX_AVX512_BF16

template <int kRows, int kVecs>
__attribute__((noinline)) void Micro(const MicroArgs& args) {
  F32x16 acc[kRows][kVecs];
  LoadAccumulators(args, acc);
  const bf16* w = args.w;
  const char* prefetch = args.prefetch;
  const bf16* a = args.a;
  for (int64_t p = 0; p < args.pairs; ++p, w += kPanelColumns * 2, a += 2) {
    if (prefetch != nullptr) PrefetchLines<kVecs>(prefetch);
    __m512bh columns[kVecs];
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) {
      columns[v] = (__m512bh)_mm512_loadu_si512(w + v * 2 * kLanes);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      int32_t pair;
      std::memcpy(&pair, a + r * args.lda, sizeof(pair));
      const __m512bh both = (__m512bh)_mm512_set1_epi32(pair);
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v) {
        acc[r][v] = F32x16(_mm512_dpbf16_ps(acc[r][v].v, both, columns[v]));
      }
    }
  }
  StoreAccumulators(args, acc);
}

#else

#ifdef LYNX_AVX512
LYNX_SIMD F32x16 OddMembers(const bf16* pairs) {
  const __m512i raw = _mm512_loadu_si512(pairs);
  return F32x16(_mm512_castsi512_ps(_mm512_and_si512(raw, _mm512_set1_epi32(-65536))));
}
LYNX_SIMD F32x16 EvenMembers(const bf16* pairs) {
  return F32x16(_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(pairs), 16)));
}
#else
LYNX_SIMD __m256i EightPairs(const bf16* pairs) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(pairs));
}
LYNX_SIMD F32x16 OddMembers(const bf16* pairs) {
  const __m256i mask = _mm256_set1_epi32(-65536);
  return {_mm256_castsi256_ps(_mm256_and_si256(EightPairs(pairs), mask)),
          _mm256_castsi256_ps(_mm256_and_si256(EightPairs(pairs + 16), mask))};
}
LYNX_SIMD F32x16 EvenMembers(const bf16* pairs) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(EightPairs(pairs), 16)),
          _mm256_castsi256_ps(_mm256_slli_epi32(EightPairs(pairs + 16), 16))};
}
#endif

// acc[r][v] += a[r] * columns[v], one k.
template <int kRows, int kVecs>
LYNX_SIMD void MultiplyAdd(const float* a, int64_t lda, const F32x16 (&columns)[kVecs],
                           F32x16 (&acc)[kRows][kVecs]) {
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    const F32x16 value(a[r * lda]);
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) FmaInto(acc[r][v], value, columns[v]);
  }
}

// Widens the weights in registers: for few rows.
template <int kRows, int kVecs>
__attribute__((noinline)) void Micro(const MicroArgs& args) {
  F32x16 acc[kRows][kVecs];
  LoadAccumulators(args, acc);
  const bf16* w = args.w;
  const char* prefetch = args.prefetch;
  const float* a = args.a;
  const int64_t lda = args.lda;
  const int64_t pairs = args.pairs;
  for (int64_t p = 0; p < pairs; ++p, w += kPanelColumns * 2, a += 2) {
    if (prefetch != nullptr) PrefetchLines<kVecs>(prefetch);
    F32x16 columns[kVecs];
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) columns[v] = OddMembers(w + v * 2 * kLanes);
    MultiplyAdd(a + 1, lda, columns, acc);
    const bf16* again = LoadAgain(w);
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) columns[v] = EvenMembers(again + v * 2 * kLanes);
    MultiplyAdd(a, lda, columns, acc);
  }
  StoreAccumulators(args, acc);
}

// Reads weights that Unpack has widened: for many rows.
template <int kRows, int kVecs>
__attribute__((noinline)) void MicroUnpacked(const MicroArgs& args) {
  constexpr int kColumns = kVecs * kLanes;
  F32x16 acc[kRows][kVecs];
  LoadAccumulators(args, acc);
  const float* w = args.unpacked;
  const float* a = args.a;
  for (int64_t p = 0; p < args.pairs; ++p, w += 2 * kColumns, a += 2) {
    F32x16 columns[kVecs];
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) columns[v] = Load(w + kColumns + v * kLanes);
    MultiplyAdd(a + 1, args.lda, columns, acc);
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) columns[v] = Load(w + v * kLanes);
    MultiplyAdd(a, args.lda, columns, acc);
  }
  StoreAccumulators(args, acc);
}

// A strip of `pairs` pairs as float, [2 * pairs, strip columns]; meanwhile it asks for the
// memory at `prefetch`.
template <int kVecs>
void Unpack(const bf16* w, int64_t pairs, const char* prefetch, float* out) {
  constexpr int kColumns = kVecs * kLanes;
  for (int64_t p = 0; p < pairs; ++p, w += kPanelColumns * 2, out += 2 * kColumns) {
    PrefetchLines<kVecs>(prefetch);
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) {
      Store(out + v * kLanes, EvenMembers(w + v * 2 * kLanes));
      Store(out + kColumns + v * kLanes, OddMembers(w + v * 2 * kLanes));
    }
  }
}

#endif

}  // namespace
}  // namespace lynx
