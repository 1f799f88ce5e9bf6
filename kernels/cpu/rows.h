// The row operations of ops.h on 16 lanes, for the tier whose file includes this.
#pragma once

#include "kernels/cpu/simd.h"
#include "kernels/linear_inl.h"
#include "kernels/ops.h"

namespace lynx {
namespace {

static_assert(kLanes == kVirtualLanes);

// Calls f(i) for each full block of lanes and `part(i, count)` for what is left.
template <typename F, typename P>
LYNX_SIMD void ForLanes(int64_t n, F f, P part) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) f(i);
  if (i < n) part(i, n - i);
}

void RmsNorm(const float* x, const float* weight, float eps, int64_t n, bf16* out) {
  F32x16 squares(0.0f);
  auto add = [&](F32x16 v) { squares = Fma(v, v, squares); };
  ForLanes(
      n, [&](int64_t i) { add(Load(x + i)); },
      [&](int64_t i, int64_t count) { add(LoadPart(x + i, count)); });
  const F32x16 inverse(InverseRms(SumLanes(squares), n, eps));
  ForLanes(
      n, [&](int64_t i) { StoreBf16(out + i, Load(x + i) * inverse * Load(weight + i)); },
      [&](int64_t i, int64_t count) {
        const F32x16 scaled = LoadPart(x + i, count) * inverse;
        StoreBf16Part(out + i, scaled * LoadPart(weight + i, count), count);
      });
}

void SiluMul(const float* gate, const float* up, int64_t n, bf16* out) {
  ForLanes(
      n, [&](int64_t i) { StoreBf16(out + i, SiluMulOf(Load(gate + i), Load(up + i))); },
      [&](int64_t i, int64_t count) {
        const F32x16 g = LoadPart(gate + i, count);
        StoreBf16Part(out + i, SiluMulOf(g, LoadPart(up + i, count)), count);
      });
}

void GeluMul(const float* gate, const float* up, int64_t n, bf16* out) {
  ForLanes(
      n, [&](int64_t i) { StoreBf16(out + i, GeluMulOf(Load(gate + i), Load(up + i))); },
      [&](int64_t i, int64_t count) {
        const F32x16 g = LoadPart(gate + i, count);
        StoreBf16Part(out + i, GeluMulOf(g, LoadPart(up + i, count)), count);
      });
}

void Rope(float* x, int64_t heads, int64_t head_dim, const float* cos_sin) {
  const int64_t half = head_dim / 2;
  const float* cos = cos_sin;
  const float* sin = cos_sin + half;
  for (int64_t h = 0; h < heads; ++h, x += head_dim) {
    ForLanes(
        half,
        [&](int64_t i) {
          F32x16 x0 = Load(x + i), x1 = Load(x + half + i);
          RotatePair(x0, x1, Load(cos + i), Load(sin + i));
          Store(x + i, x0);
          Store(x + half + i, x1);
        },
        [&](int64_t i, int64_t count) {
          F32x16 x0 = LoadPart(x + i, count), x1 = LoadPart(x + half + i, count);
          RotatePair(x0, x1, LoadPart(cos + i, count), LoadPart(sin + i, count));
          StorePart(x + i, x0, count);
          StorePart(x + half + i, x1, count);
        });
  }
}

void Widen(const bf16* row, int64_t n, float* out) {
  ForLanes(
      n, [&](int64_t i) { Store(out + i, LoadBf16(row + i)); },
      [&](int64_t i, int64_t count) { StorePart(out + i, LoadBf16Part(row + i, count), count); });
}

LYNX_SIMD float LargestOf(const float* x, int64_t n) {
  F32x16 best(x[0]);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const F32x16 v = Load(x + i);
    best = IfLess(best, v, v, best);
  }
  float lanes[kLanes];
  Store(lanes, best);
  float largest = lanes[0];
  for (int j = 1; j < kLanes; ++j) largest = IfLess(largest, lanes[j], lanes[j], largest);
  for (; i < n; ++i) largest = IfLess(largest, x[i], x[i], largest);
  return largest;
}

// Two passes: the value, then its first place. The second usually ends early and never costs more
// than a read.
int64_t Argmax(const float* x, int64_t n) {
  const float largest = LargestOf(x, n);
  const F32x16 wanted(largest);
  int64_t i = 0;
  while (i + kLanes <= n && !AnyEqual(Load(x + i), wanted)) i += kLanes;
  while (i < n - 1 && x[i] != largest) ++i;
  return i;
}

}  // namespace
}  // namespace lynx
