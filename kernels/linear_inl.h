// The specification of the operations around attention, one value or one row at a time: what every
// tier must reproduce bit for bit. The scalar tier only loops over these; the vector tiers do the
// same arithmetic on 16 lanes.
#pragma once

#include <cstdint>

#include "kernels/math_inl.h"
#include "kernels/ops.h"
#include "runtime/bf16.h"

namespace lynx {

// The lanes that a row's sum is spread over, whatever a machine's registers hold: element i goes to
// lane i % 16.
inline constexpr int kVirtualLanes = 16;

// Column `column` of a row's product with packed weights, before bias. Odd k: the missing member
// counts as 0 * 0.
LYNX_EXACT float DotPacked(const bf16* a, const PackedMatrix& w, int64_t column) {
  const int64_t pairs = (w.k + 1) / 2;
  const bf16* pair =
      w.data + (column / kPanelColumns) * pairs * kPanelColumns * 2 + (column % kPanelColumns) * 2;
  float sum = 0;
  for (int64_t p = 0; p < pairs; ++p, pair += kPanelColumns * 2) {
    const bf16 odd = 2 * p + 1 < w.k ? a[2 * p + 1] : bf16{0};
    sum = Fma(ToFloat(odd), ToFloat(pair[1]), sum);
    sum = Fma(ToFloat(a[2 * p]), ToFloat(pair[0]), sum);
  }
  return sum;
}

// Sums the lanes pairwise: lane i + lane i + 8, then + 4, + 2, + 1.
LYNX_EXACT float SumVirtualLanes(float lanes[kVirtualLanes]) {
  for (int width = kVirtualLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

LYNX_EXACT float SumOfSquares(const float* x, int64_t n) {
  float lanes[kVirtualLanes] = {};
  for (int64_t i = 0; i < n; ++i) {
    float& lane = lanes[i % kVirtualLanes];
    lane = Fma(x[i], x[i], lane);
  }
  return SumVirtualLanes(lanes);
}

// What a row is multiplied with before its weight.
LYNX_EXACT float InverseRms(float sum_of_squares, int64_t n, float eps) {
  return 1.0f / __builtin_sqrtf(sum_of_squares / static_cast<float>(n) + eps);
}

// x / (1 + e^-x) * up.
template <typename F>
LYNX_EXACT F SiluMulOf(F gate, F up) {
  return gate / (F(1.0f) + ExpOf<F>(F(0.0f) - gate)) * up;
}

// GELU in its tanh form times up; (1 + tanh u) / 2 is the sigmoid of 2u, u = sqrt(2/pi) (x +
// 0.044715 x^3).
template <typename F>
LYNX_EXACT F GeluMulOf(F gate, F up) {
  const F cubic = Fma(gate * gate, F(0.0713548162726f), F(1.5957691216057f));
  return gate * SigmoidOf<F>(gate * cubic) * up;
}

// Rotates the pair (x0, x1) by the angle of `cos` and `sin`.
template <typename F>
LYNX_EXACT void RotatePair(F& x0, F& x1, F cos, F sin) {
  const F first = Fma(x0, cos, F(0.0f) - x1 * sin);
  x1 = Fma(x1, cos, x0 * sin);
  x0 = first;
}

}  // namespace lynx
