// AVX-512 for a tier's source on a machine that has AVX2 only: SIMDe's portable intrinsics under
// the native names, and below those that SIMDe 0.7.4 lacks, from the definitions of the
// instructions. Include it ahead of everything else. An intrinsic that nobody emulates does not
// compile.
#pragma once

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <immintrin.h>
#include <simde/x86/avx512.h>

#include <cstdint>
#include <cstring>

namespace lynx::emulation {
namespace {

// A register's halves, as memory has them.
struct Floats {
  __m256 low, high;
};
struct Integers {
  __m256i low, high;
};

template <typename To, typename From>
inline To Reinterpret(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

inline __m512i ConvertU16ToI32(__m256i x) {
  return Reinterpret<__m512i>(Integers{_mm256_cvtepu16_epi32(_mm256_castsi256_si128(x)),
                                       _mm256_cvtepu16_epi32(_mm256_extracti128_si256(x, 1))});
}
inline __m512i ConvertU8ToI32(__m128i x) {
  return Reinterpret<__m512i>(
      Integers{_mm256_cvtepu8_epi32(x), _mm256_cvtepu8_epi32(_mm_srli_si128(x, 8))});
}
inline __m512 ConvertI32ToFloat(__m512i x) {
  const auto half = Reinterpret<Integers>(x);
  return Reinterpret<__m512>(Floats{_mm256_cvtepi32_ps(half.low), _mm256_cvtepi32_ps(half.high)});
}
inline __m512i ShiftRightArithmetic32(__m512i x, int bits) {
  const auto half = Reinterpret<Integers>(x);
  return Reinterpret<__m512i>(
      Integers{_mm256_srai_epi32(half.low, bits), _mm256_srai_epi32(half.high, bits)});
}

// The low 16 bits of each lane: no saturation.
inline __m256i TruncateI32ToI16(__m512i x) {
  int32_t wide[16];
  uint16_t narrow[16];
  std::memcpy(wide, &x, sizeof wide);
  for (int i = 0; i < 16; ++i) narrow[i] = static_cast<uint16_t>(wide[i]);
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(narrow));
}

inline __m256 IsBelow(__m256 x, float magnitude) {
  const __m256 absolute = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
  return _mm256_cmp_ps(absolute, _mm256_set1_ps(magnitude), _CMP_LT_OQ);
}
inline __m256 ZeroWhere(__m256 mask, __m256 x) {
  return _mm256_andnot_ps(_mm256_andnot_ps(_mm256_set1_ps(-0.0f), mask), x);  // keeps the sign
}
inline __m256 FlushDenormals(__m256 x) { return ZeroWhere(IsBelow(x, 0x1p-126f), x); }

// One of vdpbf16ps's two accumulations: fused, to nearest even, denormals in and out are zeros, in
// whatever mode the thread is (the processor's MXCSR does not count). Whether a result is denormal
// is decided by what it is rounded to when the exponent has no limit: 2^64 times as large.
inline __m256 AddProduct(__m256 acc, __m256 a, __m256 b) {
  acc = FlushDenormals(acc);
  a = FlushDenormals(a);
  b = FlushDenormals(b);
  const __m256 scale = _mm256_set1_ps(0x1p64f);
  const __m256 scaled = _mm256_fmadd_ps(_mm256_mul_ps(a, scale), b, _mm256_mul_ps(acc, scale));
  return ZeroWhere(IsBelow(scaled, 0x1p-62f), _mm256_fmadd_ps(a, b, acc));
}

inline __m256 OddOfPairs(__m256i pairs) {
  return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(-65536)));
}
inline __m256 EvenOfPairs(__m256i pairs) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
}
inline __m256 AddPairs(__m256 acc, __m256i a, __m256i b) {
  acc = AddProduct(acc, OddOfPairs(a), OddOfPairs(b));
  return AddProduct(acc, EvenOfPairs(a), EvenOfPairs(b));
}

// vdpbf16ps. SIMDe's adds the even product first and rounds the products by themselves.
template <typename Pairs>
inline __m512 DotBf16(__m512 acc, const Pairs& a, const Pairs& b) {
  const auto sums = Reinterpret<Floats>(acc);
  const auto x = Reinterpret<Integers>(a), y = Reinterpret<Integers>(b);
  return Reinterpret<__m512>(
      Floats{AddPairs(sums.low, x.low, y.low), AddPairs(sums.high, x.high, y.high)});
}

}  // namespace
}  // namespace lynx::emulation

#define _mm512_cvtepu16_epi32(x) lynx::emulation::ConvertU16ToI32(x)
#define _mm512_cvtepu8_epi32(x) lynx::emulation::ConvertU8ToI32(x)
#define _mm512_cvtepi32_ps(x) lynx::emulation::ConvertI32ToFloat(x)
#define _mm512_cvtepi32_epi16(x) lynx::emulation::TruncateI32ToI16(x)
#undef _mm512_srai_epi32
#define _mm512_srai_epi32(x, bits) lynx::emulation::ShiftRightArithmetic32(x, bits)
#undef _mm512_dpbf16_ps
#define _mm512_dpbf16_ps(acc, a, b) lynx::emulation::DotBf16(acc, a, b)
