// The lanes that attention computes with, for the tier whose file includes this.
#pragma once

#include <cstdint>
#include <cstring>

#ifdef __AVX2__
#include "kernels/cpu/simd.h"
#endif
#include "kernels/cpu/unpack_codes.h"
#include "kernels/math_inl.h"

namespace lynx {
namespace {

// The scalar overloads, beside the vectors' in simd.h.
using lynx::Fma;
using lynx::IfLess;

// One lane: the specification itself, and head dimensions that vectors do not divide.
struct ScalarLanes {
  using F = float;
  using Bytes = Word<uint64_t>;
  static constexpr int kLanes = 1;
  static constexpr int kTileRows = 4;
  static constexpr int TileVectors(int) { return 8; }

  static float Load(const float* p) { return *p; }
  static void Store(float* p, float x) { *p = x; }
  static void FmaInto(float& acc, float a, float b) { acc = Fma(a, b, acc); }
  static float LoadBytes(const uint8_t* p) { return static_cast<float>(*p); }
  static float LoadBf16(const std::byte* p) {
    bf16 x;
    std::memcpy(&x, p, sizeof x);
    return ToFloat(x);
  }
  static void StoreBf16(bf16* p, float x) { *p = ToBf16(x); }
  static float LoadEven(const std::byte* pair) { return LoadBf16(pair); }
  static float LoadOdd(const std::byte* pair) { return LoadBf16(pair + 2); }
  static constexpr bool kBf16Pairs = false;
  static float StoreBf16Factors(float* row, int at, float x) {
    return row[at] = ToFloat(ToBf16(x));
  }
  static float TreeSum16(const float (&x)[kTreeLanes]) {
    float a[kTreeLanes];
    std::memcpy(a, x, sizeof a);
    for (int half = kTreeLanes / 2; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) a[i] = a[i] + a[i + half];
    }
    return a[0];
  }
  static float TreeMax16(const float (&x)[kTreeLanes]) {
    float a[kTreeLanes];
    std::memcpy(a, x, sizeof a);
    for (int half = kTreeLanes / 2; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) a[i] = IfLess(a[i], a[i + half], a[i + half], a[i]);
    }
    return a[0];
  }
};

#ifdef __AVX2__

#ifdef LYNX_AVX512
struct WideBytes {
  __m512i v;
  static constexpr int kBytes = 64;
  static WideBytes Fill(uint8_t mask) { return {_mm512_set1_epi8(static_cast<char>(mask))}; }
  static WideBytes Load(const std::byte* p) { return {_mm512_loadu_si512(p)}; }
  void Store(uint8_t* p) const { _mm512_storeu_si512(p, v); }
  template <int kBits>
  WideBytes Shift() const {
    if constexpr (kBits >= 0) return {_mm512_slli_epi32(v, kBits)};
    if constexpr (kBits < 0) return {_mm512_srli_epi32(v, -kBits)};
  }
  friend WideBytes operator|(WideBytes a, WideBytes b) { return {_mm512_or_si512(a.v, b.v)}; }
  friend WideBytes operator&(WideBytes a, WideBytes b) { return {_mm512_and_si512(a.v, b.v)}; }
};
#else
struct WideBytes {
  __m256i v;
  static constexpr int kBytes = 32;
  static WideBytes Fill(uint8_t mask) { return {_mm256_set1_epi8(static_cast<char>(mask))}; }
  static WideBytes Load(const std::byte* p) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
  }
  void Store(uint8_t* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
  template <int kBits>
  WideBytes Shift() const {
    if constexpr (kBits >= 0) return {_mm256_slli_epi32(v, kBits)};
    if constexpr (kBits < 0) return {_mm256_srli_epi32(v, -kBits)};
  }
  friend WideBytes operator|(WideBytes a, WideBytes b) { return {_mm256_or_si256(a.v, b.v)}; }
  friend WideBytes operator&(WideBytes a, WideBytes b) { return {_mm256_and_si256(a.v, b.v)}; }
};
#endif

struct SimdLanes {
  using F = F32x16;
  using Bytes = WideBytes;
  static constexpr int kLanes = 16;
  static constexpr int kTileRows = 6;

  static F Load(const float* p) { return lynx::Load(p); }
  static void Store(float* p, F x) { lynx::Store(p, x); }
  LYNX_SIMD static void FmaInto(F& acc, F a, F b) { lynx::FmaInto(acc, a, b); }
  static F LoadBf16(const std::byte* p) { return lynx::LoadBf16(reinterpret_cast<const bf16*>(p)); }
  static void StoreBf16(bf16* p, F x) { lynx::StoreBf16(p, x); }
  static float TreeSum16(const F (&x)[1]) { return SumLanes(x[0]); }
  // Steps 4, 2 and 1 of TreeMax16.
  static float MaxOfEight(__m256 eight) {
    const __m128 low = _mm256_castps256_ps128(eight);
    const __m128 high = _mm256_extractf128_ps(eight, 1);
    // max_ps(a, b) = a > b ? a : b: with the arguments swapped, x[i] < x[i + half] ? x[i + half] :
    // x[i].
    const __m128 four = _mm_max_ps(high, low);
    const __m128 two = _mm_max_ps(_mm_movehl_ps(four, four), four);
    return _mm_cvtss_f32(_mm_max_ss(_mm_movehdup_ps(two), two));
  }

#ifdef LYNX_AVX512
  // 32 registers: up to 6 x 4 accumulators.
  static constexpr int TileVectors(int) { return 4; }

  static F LoadBytes(const uint8_t* p) {
    const __m128i raw = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return F(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(raw)));
  }
  static F LoadEven(const std::byte* p) {
    return F(_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16)));
  }
  static F LoadOdd(const std::byte* p) {
    const __m512i high = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
    return F(_mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), high)));
  }
#ifdef LYNX_AVX512_BF16
  static constexpr bool kBf16Pairs = true;
  using Pairs = __m512bh;
  static Pairs LoadPairs(const std::byte* p) { return (__m512bh)_mm512_loadu_si512(p); }
  // One pair of StoreBf16Factors in all lanes.
  static Pairs FillPairs(const float* factors) {
    int32_t pair;
    std::memcpy(&pair, factors, sizeof pair);
    return (__m512bh)_mm512_set1_epi32(pair);
  }
  // acc = fma(odd of a, odd of b, acc), then the even ones. Denormals are zeros, as they are to
  // every thread in the exact float mode.
  LYNX_SIMD static void FmaPairs(F& acc, Pairs a, Pairs b) {
    acc = F(_mm512_dpbf16_ps(acc.v, a, b));
  }
  static F StoreBf16Factors(float* row, int at, F x) {
    bf16* factors = reinterpret_cast<bf16*>(row) + at;
    lynx::StoreBf16(factors, x);
    return lynx::LoadBf16(factors);
  }
#else
  static constexpr bool kBf16Pairs = false;
  static F StoreBf16Factors(float* row, int at, F x) {
    bf16 rounded[kLanes];
    lynx::StoreBf16(rounded, x);
    const F wide = lynx::LoadBf16(rounded);
    Store(row + at, wide);
    return wide;
  }
#endif
  static float TreeMax16(const F (&x)[1]) {
    const __m256 low = _mm512_castps512_ps256(x[0].v);
    const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x[0].v), 1));
    return MaxOfEight(_mm256_max_ps(high, low));
  }
#else
  // 16 registers, two a vector: accumulators, the loaded vector and a factor.
  static constexpr int TileVectors(int rows) { return rows == 1 ? 4 : rows <= 3 ? 2 : 1; }

  static F LoadBytes(const uint8_t* p) { return {Widen(p), Widen(p + 8)}; }
  static F LoadEven(const std::byte* p) {
    return {_mm256_castsi256_ps(_mm256_slli_epi32(Raw(p), 16)),
            _mm256_castsi256_ps(_mm256_slli_epi32(Raw(p + 32), 16))};
  }
  static F LoadOdd(const std::byte* p) {
    const __m256i high = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
    return {_mm256_castsi256_ps(_mm256_and_si256(Raw(p), high)),
            _mm256_castsi256_ps(_mm256_and_si256(Raw(p + 32), high))};
  }
  static constexpr bool kBf16Pairs = false;
  static F StoreBf16Factors(float* row, int at, F x) {
    const F rounded = {Round(x.lo), Round(x.hi)};
    Store(row + at, rounded);
    return rounded;
  }
  static float TreeMax16(const F (&x)[1]) { return MaxOfEight(_mm256_max_ps(x[0].hi, x[0].lo)); }

 private:
  static __m256i Raw(const std::byte* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static __m256 Widen(const uint8_t* p) {
    const __m128i raw = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(raw));
  }
  static __m256 Round(__m256 x) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(RoundEight(x), 16));
  }
#endif
};

#endif  // __AVX2__

}  // namespace
}  // namespace lynx
