// Exp for softmax weights. Host and device.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/math_inl.h"

namespace lynx::cuda {

// Exp(x) for x <= 0 or NaN, with the same bits in a third fewer instructions: the result is a
// normal number or 0, so that its exponent is added to as an integer.
LYNX_EXACT float ExpOfNegative(float x) {
  const float shifted = Fma(x, 0x1.715476p+0f, kRoundToInt);
  const float n = shifted - kRoundToInt;
  float r = Fma(n, -0x1.62e430p-1f, x);
  r = Fma(n, 0x1.05c610p-29f, r);
  float p = 0x1.6a2350p-10f;
  p = Fma(p, r, 0x1.123a6cp-7f);
  p = Fma(p, r, 0x1.5558f4p-5f);
  p = Fma(p, r, 0x1.555490p-3f);
  p = Fma(p, r, 0x1.fffffcp-2f);
  const float y = Fma(p, r * r, r) + 1.0f;
  // The low bits of `shifted` are n; those of kRoundToInt are shifted out.
  const uint32_t bits = std::bit_cast<uint32_t>(y) + (std::bit_cast<uint32_t>(shifted) << 23);
  return x < -87.33f ? 0.0f : std::bit_cast<float>(bits);
}

}  // namespace lynx::cuda
