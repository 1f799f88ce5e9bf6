// The loop of multiply-adds that fixes a tier's peak, for the tier whose file includes this.
#pragma once

#include "kernels/cpu/simd.h"

namespace lynx {
namespace {

// Enough independent chains to hide the latency of a multiply-add on every unit.
#ifdef LYNX_AVX512
inline constexpr int kChains = 24;
#else
inline constexpr int kChains = 6;  // of two registers each
#endif

// `step(acc)` is one multiply-add of 16 lanes; the registers are kept alive past the compiler.
template <typename Step>
LYNX_SIMD void RunChains(long rounds, Step step) {
  F32x16 acc[kChains];
  for (F32x16& a : acc) a = F32x16(0.0f);
  for (long r = 0; r < rounds; ++r) {
#pragma GCC unroll 24
    for (int i = 0; i < kChains; ++i) acc[i] = step(acc[i]);
  }
  float sink[kLanes];
  for (const F32x16& a : acc) {
    Store(sink, a);
    asm volatile("" : : "r"(sink) : "memory");
  }
}

LYNX_SIMD double FmaLoop(long rounds) {
  float one = 1.0f, half = 0.5f;
  asm volatile("" : "+m"(one), "+m"(half));
  const F32x16 x(one), y(half);
  RunChains(rounds, [&](F32x16 acc) { return Fma(acc, y, x); });
  return static_cast<double>(rounds) * kChains * kLanes * 2;
}

}  // namespace
}  // namespace lynx
