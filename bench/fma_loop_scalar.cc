#include "bench/roofline.h"
#include "kernels/math_inl.h"

namespace lynx::bench {

double FmaLoopScalar(long rounds) {
  constexpr int kChains = 8;
  float one = 1.0f, half = 0.5f;
  asm volatile("" : "+m"(one), "+m"(half));
  float acc[kChains] = {};
  for (long r = 0; r < rounds; ++r) {
    for (float& a : acc) a = Fma(a, half, one);
  }
  asm volatile("" : : "r"(acc) : "memory");
  return static_cast<double>(rounds) * kChains * 2;
}

}  // namespace lynx::bench
