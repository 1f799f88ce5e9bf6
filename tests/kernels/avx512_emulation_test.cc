// The emulated intrinsics that are our own, against plain readings of the instructions'
// definitions.
#include "tests/kernels/avx512_emulation.h"

#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <random>

#include "runtime/bf16.h"
#include "runtime/cpu.h"

namespace lynx {
namespace {

constexpr int kFloats = 16;

struct Operands {
  float acc[kFloats];
  bf16 a[2 * kFloats], b[2 * kFloats];
};

void DotBf16(const Operands& in, float* out) {
  const auto a = (__m512bh)_mm512_loadu_si512(in.a), b = (__m512bh)_mm512_loadu_si512(in.b);
  _mm512_storeu_ps(out, _mm512_dpbf16_ps(_mm512_loadu_ps(in.acc), a, b));
}

// By bits, because comparing depends on the thread's mode.
float WithoutDenormal(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  return (bits & 0x7f800000u) != 0 ? x : std::bit_cast<float>(bits & 0x80000000u);
}

// acc + a * b: exact but for what 113 bits cannot show beside a number of 24, then rounded as if
// the exponent had no lower limit, then flushed.
float Accumulate(float acc, float a, float b) {
  using Wide = __float128;
  const Wide exact = static_cast<Wide>(WithoutDenormal(a)) * WithoutDenormal(b) +
                     static_cast<Wide>(WithoutDenormal(acc));
  const bool small = exact < 0x1p-100f && exact > -0x1p-100f && exact != 0;
  if (!small) return static_cast<float>(exact);
  const float scaled = static_cast<float>(exact * 0x1p64f);
  if (std::fabs(scaled) < 0x1p-62f) return exact < 0 ? -0.0f : 0.0f;
  return scaled * 0x1p-64f;
}

float WantedLane(const Operands& in, int i) {
  const float odd = Accumulate(in.acc[i], ToFloat(in.a[2 * i + 1]), ToFloat(in.b[2 * i + 1]));
  return Accumulate(odd, ToFloat(in.a[2 * i]), ToFloat(in.b[2 * i]));
}

// Bits, but for the payload of a NaN.
bool Same(float got, float want) {
  const auto is_nan = [](float x) { return (std::bit_cast<uint32_t>(x) << 1) > 0xff000000u; };
  return std::bit_cast<uint32_t>(got) == std::bit_cast<uint32_t>(want) ||
         (is_nan(got) && is_nan(want));
}

void CheckDot(const Operands& in) {
  float got[kFloats];
  DotBf16(in, got);
  for (int i = 0; i < kFloats; ++i) {
    const float want = WantedLane(in, i);
    if (Same(got[i], want)) continue;
    FAIL("acc " << in.acc[i] << " odd " << ToFloat(in.a[2 * i + 1]) << " * "
                << ToFloat(in.b[2 * i + 1]) << " even " << ToFloat(in.a[2 * i]) << " * "
                << ToFloat(in.b[2 * i]) << ": " << got[i] << " instead of " << want);
  }
}

float WithExponent(std::mt19937& rng, int exponent) {  // any sign and mantissa
  const uint32_t biased = static_cast<uint32_t>(std::max(exponent + 127, 0));
  const auto bits = static_cast<uint32_t>(rng());
  return std::bit_cast<float>((bits & 0x807fffffu) | biased << 23);
}
bf16 Truncated(float x) { return {static_cast<uint16_t>(std::bit_cast<uint32_t>(x) >> 16)}; }
int Between(std::mt19937& rng, int low, int high) {
  return std::uniform_int_distribution<int>(low, high)(rng);
}

// Lanes whose sums lie around `exponent`, within a few powers of two.
Operands Around(std::mt19937& rng, int exponent) {
  Operands in;
  for (int i = 0; i < kFloats; ++i) {
    in.acc[i] = WithExponent(rng, exponent + Between(rng, -2, 3));
    for (int j : {2 * i, 2 * i + 1}) {
      const int part = Between(rng, std::max(exponent, -126) / 2 - 20, exponent / 2 + 20);
      in.a[j] = Truncated(WithExponent(rng, part));
      in.b[j] = Truncated(WithExponent(rng, exponent - part + Between(rng, -4, 2)));
    }
  }
  return in;
}

Operands AnyBits(std::mt19937& rng) {
  Operands in;
  for (float& x : in.acc) x = std::bit_cast<float>(static_cast<uint32_t>(rng()));
  for (bf16& x : in.a) x = {static_cast<uint16_t>(rng())};
  for (bf16& x : in.b) x = {static_cast<uint16_t>(rng())};
  return in;
}

// Zeros, denormals, the smallest and largest normal numbers, infinities and NaN, beside 1.
Operands Edges(std::mt19937& rng) {
  static constexpr uint16_t kEdges[] = {0,      0x0001, 0x007f, 0x0080, 0x0081, 0x3f80,
                                        0x7f7f, 0x7f80, 0x7fc0, 0x1f80, 0x2000, 0x5f80};
  const auto edge = [&] {
    return static_cast<uint16_t>(kEdges[rng() % std::size(kEdges)] | (rng() & 1) << 15);
  };
  Operands in;
  for (float& x : in.acc) x = ToFloat({edge()});
  for (bf16& x : in.a) x = {edge()};
  for (bf16& x : in.b) x = {edge()};
  return in;
}

// The first product takes away what was there, down to its last bits.
Operands Cancelling(std::mt19937& rng) {
  Operands in = Around(rng, Between(rng, -125, 100));
  for (int i = 0; i < kFloats; ++i) {
    const float product = ToFloat(in.a[2 * i + 1]) * ToFloat(in.b[2 * i + 1]);
    const auto apart = static_cast<uint32_t>(rng() % 4);
    in.acc[i] = std::bit_cast<float>(std::bit_cast<uint32_t>(-product) + apart);
  }
  return in;
}

// `test()` with denormals as IEEE has them, then in the mode of the engines' threads.
template <typename Test>
void InBothModes(const Test& test) {
  if (!DetectCpu().avx2) return;  // the emulation itself needs it
  const unsigned mode = _mm_getcsr();
  test();
  SetExactFloatMode();
  test();
  _mm_setcsr(mode);
}

// One lane by hand: acc, then the odd and the even product.
float Dot(float acc, float a1, float b1, float a0, float b0) {
  Operands in = {};
  in.acc[5] = acc;
  in.a[11] = Truncated(a1);
  in.b[11] = Truncated(b1);
  in.a[10] = Truncated(a0);
  in.b[10] = Truncated(b0);
  float out[kFloats];
  DotBf16(in, out);
  return out[5];
}

TEST_CASE("vdpbf16ps, by hand") {
  InBothModes([] {
    CHECK(Dot(0.5f, 2, 3, 4, 5) == 26.5f);
    // Odd first: 2^24 - 2^24 + 1, where 2^24 + 1 would lose the 1.
    CHECK(Dot(0x1p24f, -1, 0x1p24f, 1, 1) == 1.0f);
    // Fused: (1 + 2^-7)^2 = 1 + 2^-6 + 2^-14, of which 2^-14 is left.
    CHECK(Dot(-0x1.04p0f * 0x1p20f, 0x1.02p0f * 0x1p20f, 0x1.02p0f, 0, 0) == 0x1p6f);
    // A denormal factor, accumulator, result: zero.
    CHECK(Dot(0, 0x1p-127f, 0x1p20f, 0, 0) == 0.0f);
    CHECK(Dot(0x1p-127f, 0x1p-126f, 1, 0, 0) == 0x1p-126f);
    CHECK(std::bit_cast<uint32_t>(Dot(0, 1, 0, 0x1p-64f, -0x1p-63f)) == 0x80000000u);
    // The intermediate sum is flushed too.
    CHECK(Dot(0x1.8p-126f, -1, 0x1p-126f, 1, 0x1p-126f) == 0x1p-126f);
    // Just below the smallest normal number: a tie that rounds up to it, and what does not.
    CHECK(Dot(0x1p-126f, -0x1p-76f, 0x1p-75f, 0, 0) == 0x1p-126f);
    CHECK(std::bit_cast<uint32_t>(Dot(0x1p-126f, -0x1p-75f, 0x1p-75f, 0, 0)) == 0u);
  });
}

TEST_CASE("vdpbf16ps follows its definition") {
  std::mt19937 rng(1);
  InBothModes([&] {
    for (int round = 0; round < 3000; ++round) {
      CheckDot(AnyBits(rng));
      CheckDot(Edges(rng));
      CheckDot(Around(rng, Between(rng, -128, -120)));
      CheckDot(Around(rng, Between(rng, -100, 127)));
      CheckDot(Cancelling(rng));
    }
  });
}

TEST_CASE("conversions and shifts follow their definitions") {
  if (!DetectCpu().avx2) return;
  std::mt19937 rng(2);
  for (int round = 0; round < 1000; ++round) {
    int32_t in[kFloats], shifted[kFloats], wide16[kFloats], wide8[kFloats];
    uint16_t narrow[kFloats];
    float floats[kFloats];
    for (int32_t& x : in) x = static_cast<int32_t>(rng());
    const __m512i v = _mm512_loadu_si512(in);
    const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in));
    _mm512_storeu_si512(shifted, _mm512_srai_epi32(v, 3));
    _mm512_storeu_si512(wide16, _mm512_cvtepu16_epi32(words));
    _mm512_storeu_si512(wide8, _mm512_cvtepu8_epi32(_mm256_castsi256_si128(words)));
    _mm512_storeu_ps(floats, _mm512_cvtepi32_ps(v));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(narrow), _mm512_cvtepi32_epi16(v));
    uint16_t in16[kFloats];
    uint8_t in8[kFloats];
    std::memcpy(in16, in, sizeof in16);
    std::memcpy(in8, in, sizeof in8);
    for (int i = 0; i < kFloats; ++i) {
      REQUIRE(shifted[i] == in[i] >> 3);
      REQUIRE(wide16[i] == in16[i]);
      REQUIRE(wide8[i] == in8[i]);
      REQUIRE(floats[i] == static_cast<float>(in[i]));
      REQUIRE(narrow[i] == static_cast<uint16_t>(in[i]));
    }
  }
}

}  // namespace
}  // namespace lynx
