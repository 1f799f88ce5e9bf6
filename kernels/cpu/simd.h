// Sixteen float lanes, the virtual width of all exact arithmetic: one zmm register or two ymm
// registers. A tier's file includes this with its own -m flags; k's order and every rounding are
// the caller's, so all tiers agree.
//
// Everything here, and in whatever includes it, stays in an unnamed namespace: were a function
// shared between files, the linker could put the AVX-512 copy into the AVX2 path. A test checks
// that the tiers export nothing weak.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "kernels/math_inl.h"
#include "runtime/bf16.h"

#ifndef __AVX2__
#error "kernels/cpu/simd.h needs at least AVX2 and FMA"
#endif

// Which tier this is. Tests define LYNX_EMULATE_AVX512(_BF16) and the intrinsics' names themselves,
// ahead of everything else, to run the AVX-512 tiers on machines that have AVX2 only.
#if defined(__AVX512F__) || defined(LYNX_EMULATE_AVX512)
#define LYNX_AVX512
#endif
#if defined(__AVX512BF16__) || defined(LYNX_EMULATE_AVX512_BF16)
#define LYNX_AVX512_BF16
#endif

#define LYNX_SIMD inline __attribute__((always_inline))

namespace lynx {
namespace {

inline constexpr int kLanes = 16;

// The lanes' overloads below stand beside the scalar functions, not in front of them.
using lynx::Fma;
using lynx::IfLess;
using lynx::ScaleByPowerOfTwo;

// FmaInto: acc += a * b in place. As assembly, because GCC 12 otherwise lets a multiply-add
// overwrite its factor, runs out of registers and spills in an inner loop (gemm, n = 1536, k = 576,
// m = 512 on one Zen 3 core: 57 % of the peak, with this 81 %).
#ifdef LYNX_AVX512

struct F32x16 {
  __m512 v;
  F32x16() = default;
  LYNX_SIMD explicit F32x16(__m512 x) : v(x) {}
  LYNX_SIMD explicit F32x16(float x) : v(_mm512_set1_ps(x)) {}
};

LYNX_SIMD F32x16 Load(const float* p) { return F32x16(_mm512_loadu_ps(p)); }
LYNX_SIMD void Store(float* p, F32x16 x) { _mm512_storeu_ps(p, x.v); }
LYNX_SIMD F32x16 operator+(F32x16 a, F32x16 b) { return F32x16(_mm512_add_ps(a.v, b.v)); }
LYNX_SIMD F32x16 operator-(F32x16 a, F32x16 b) { return F32x16(_mm512_sub_ps(a.v, b.v)); }
LYNX_SIMD F32x16 operator*(F32x16 a, F32x16 b) { return F32x16(_mm512_mul_ps(a.v, b.v)); }
LYNX_SIMD F32x16 operator/(F32x16 a, F32x16 b) { return F32x16(_mm512_div_ps(a.v, b.v)); }
LYNX_SIMD F32x16 Fma(F32x16 a, F32x16 b, F32x16 c) {
  return F32x16(_mm512_fmadd_ps(a.v, b.v, c.v));
}
LYNX_SIMD void FmaInto(F32x16& acc, F32x16 a, F32x16 b) {
#ifdef LYNX_EMULATE_AVX512
  acc = Fma(a, b, acc);
#else
  asm("vfmadd231ps %2, %1, %0" : "+v"(acc.v) : "v"(a.v), "v"(b.v));
#endif
}

// a < b ? x : y.
LYNX_SIMD F32x16 IfLess(F32x16 a, F32x16 b, F32x16 x, F32x16 y) {
  return F32x16(_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), y.v, x.v));
}
LYNX_SIMD bool AnyEqual(F32x16 a, F32x16 b) {
  return _mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ) != 0;
}

LYNX_SIMD F32x16 ScaleByPowerOfTwo(F32x16 y, F32x16 shifted) {
  const __m512i bias = _mm512_set1_epi32(127);
  const __m512i n = _mm512_sub_epi32(_mm512_castps_si512(shifted.v),
                                     _mm512_castps_si512(_mm512_set1_ps(kRoundToInt)));
  const __m512i half = _mm512_srai_epi32(n, 1);
  const __m512i first = _mm512_slli_epi32(_mm512_add_epi32(half, bias), 23);
  const __m512i second = _mm512_slli_epi32(_mm512_add_epi32(_mm512_sub_epi32(n, half), bias), 23);
  return y * F32x16(_mm512_castsi512_ps(first)) * F32x16(_mm512_castsi512_ps(second));
}

LYNX_SIMD F32x16 LoadBf16(const bf16* p) {
  const __m256i raw = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return F32x16(_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(raw), 16)));
}

// Rounds as ToBf16 does.
LYNX_SIMD void StoreBf16(bf16* p, F32x16 x) {
  const __m512i u = _mm512_castps_si512(x.v);
  const __m512i high = _mm512_srli_epi32(u, 16);
  const __m512i odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
  const __m512i sum = _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 nan = _mm512_cmp_ps_mask(x.v, x.v, _CMP_UNORD_Q);
  const __m512i quiet = _mm512_or_si512(high, _mm512_set1_epi32(0x40));
  const __m512i rounded = _mm512_mask_blend_epi32(nan, _mm512_srli_epi32(sum, 16), quiet);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(rounded));
}

// Lanes 0..7 plus lanes 8..15: the first step of the reduction tree.
LYNX_SIMD __m256 FoldToEight(F32x16 x) {
  const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x.v), 1));
  return _mm256_add_ps(_mm512_castps512_ps256(x.v), high);
}

#else  // AVX2

struct F32x16 {
  __m256 lo, hi;
  F32x16() = default;
  LYNX_SIMD F32x16(__m256 l, __m256 h) : lo(l), hi(h) {}
  LYNX_SIMD explicit F32x16(float x) : lo(_mm256_set1_ps(x)), hi(_mm256_set1_ps(x)) {}
};

LYNX_SIMD F32x16 Load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
LYNX_SIMD void Store(float* p, F32x16 x) {
  _mm256_storeu_ps(p, x.lo);
  _mm256_storeu_ps(p + 8, x.hi);
}
LYNX_SIMD F32x16 operator+(F32x16 a, F32x16 b) {
  return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}
LYNX_SIMD F32x16 operator-(F32x16 a, F32x16 b) {
  return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}
LYNX_SIMD F32x16 operator*(F32x16 a, F32x16 b) {
  return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}
LYNX_SIMD F32x16 operator/(F32x16 a, F32x16 b) {
  return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}
LYNX_SIMD F32x16 Fma(F32x16 a, F32x16 b, F32x16 c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
LYNX_SIMD void FmaInto(F32x16& acc, F32x16 a, F32x16 b) {
  asm("vfmadd231ps %2, %1, %0" : "+x"(acc.lo) : "x"(a.lo), "x"(b.lo));
  asm("vfmadd231ps %2, %1, %0" : "+x"(acc.hi) : "x"(a.hi), "x"(b.hi));
}

// a < b ? x : y.
LYNX_SIMD F32x16 IfLess(F32x16 a, F32x16 b, F32x16 x, F32x16 y) {
  return {_mm256_blendv_ps(y.lo, x.lo, _mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ)),
          _mm256_blendv_ps(y.hi, x.hi, _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ))};
}
LYNX_SIMD bool AnyEqual(F32x16 a, F32x16 b) {
  return _mm256_movemask_ps(_mm256_or_ps(_mm256_cmp_ps(a.lo, b.lo, _CMP_EQ_OQ),
                                         _mm256_cmp_ps(a.hi, b.hi, _CMP_EQ_OQ))) != 0;
}

LYNX_SIMD __m256 ScaleEight(__m256 y, __m256 shifted) {
  const __m256i bias = _mm256_set1_epi32(127);
  const __m256i n = _mm256_sub_epi32(_mm256_castps_si256(shifted),
                                     _mm256_castps_si256(_mm256_set1_ps(kRoundToInt)));
  const __m256i half = _mm256_srai_epi32(n, 1);
  const __m256i first = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
  const __m256i second = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(n, half), bias), 23);
  return _mm256_mul_ps(_mm256_mul_ps(y, _mm256_castsi256_ps(first)), _mm256_castsi256_ps(second));
}
LYNX_SIMD F32x16 ScaleByPowerOfTwo(F32x16 y, F32x16 shifted) {
  return {ScaleEight(y.lo, shifted.lo), ScaleEight(y.hi, shifted.hi)};
}

LYNX_SIMD __m256 WidenEight(const bf16* p) {
  const __m128i raw = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(raw), 16));
}
LYNX_SIMD F32x16 LoadBf16(const bf16* p) { return {WidenEight(p), WidenEight(p + 8)}; }

LYNX_SIMD __m256i RoundEight(__m256 x) {
  const __m256i u = _mm256_castps_si256(x);
  const __m256i high = _mm256_srli_epi32(u, 16);
  const __m256i odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
  const __m256i sum = _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  const __m256i quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
  return _mm256_blendv_epi8(_mm256_srli_epi32(sum, 16), quiet, nan);
}
// Rounds as ToBf16 does.
LYNX_SIMD void StoreBf16(bf16* p, F32x16 x) {
  const __m256i packed = _mm256_packus_epi32(RoundEight(x.lo), RoundEight(x.hi));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(packed, 0xd8));
}

// Lanes 0..7 plus lanes 8..15: the first step of the reduction tree.
LYNX_SIMD __m256 FoldToEight(F32x16 x) { return _mm256_add_ps(x.lo, x.hi); }

#endif

// The lanes' sum: lane i + lane i + 8, then + 4, + 2, + 1.
LYNX_SIMD float SumLanes(F32x16 x) {
  const __m256 eight = FoldToEight(x);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// The first `count` < 16 lanes; the others are zero and are not stored.
LYNX_SIMD F32x16 LoadPart(const float* p, int64_t count) {
  float lanes[kLanes] = {};
  std::memcpy(lanes, p, static_cast<size_t>(count) * sizeof(float));
  return Load(lanes);
}
LYNX_SIMD void StorePart(float* p, F32x16 x, int64_t count) {
  float lanes[kLanes];
  Store(lanes, x);
  std::memcpy(p, lanes, static_cast<size_t>(count) * sizeof(float));
}
LYNX_SIMD F32x16 LoadBf16Part(const bf16* p, int64_t count) {
  bf16 lanes[kLanes] = {};
  std::memcpy(lanes, p, static_cast<size_t>(count) * sizeof(bf16));
  return LoadBf16(lanes);
}
LYNX_SIMD void StoreBf16Part(bf16* p, F32x16 x, int64_t count) {
  bf16 lanes[kLanes];
  StoreBf16(lanes, x);
  std::memcpy(p, lanes, static_cast<size_t>(count) * sizeof(bf16));
}

}  // namespace
}  // namespace lynx
