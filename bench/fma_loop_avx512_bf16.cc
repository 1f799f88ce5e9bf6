#include "bench/fma_loop.h"
#include "bench/roofline.h"

namespace lynx::bench {

double FmaLoopAvx512Bf16(long rounds) {
  int pairs = 0x3f003f00;
  asm volatile("" : "+m"(pairs));
  const __m512bh x = (__m512bh)_mm512_set1_epi32(pairs);
  RunChains(rounds, [&](F32x16 acc) { return F32x16(_mm512_dpbf16_ps(acc.v, x, x)); });
  return static_cast<double>(rounds) * kChains * kLanes * 4;
}

}  // namespace lynx::bench
