// Loops over logits for sampling; the arithmetic of one value is kernels/sampling_math_inl.h's.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/sampling_math_inl.h"

namespace lynx {

// x[i] = ExpNonPositive(x[i]), several at a time. The result does not depend on a value's place in
// the span.
void ExpNonPositive(std::span<double> x);

// Calls f(i) in ascending order for each i with x[i] > threshold or x[i] NaN. f may raise the
// threshold: what fails the new one is then skipped. Blocks without any such value cost little.
template <typename F>
void ForEachAbove(const float* x, int64_t n, const float& threshold, F&& f);

// ---- Implementation ----

namespace sampling_internal {

inline constexpr int64_t kScanBlock = 16;
using Float4 = float __attribute__((vector_size(16)));
using Int4 = int32_t __attribute__((vector_size(16)));

// x[kScanBlock]
inline bool AnyAbove(const float* x, float threshold) {
  const Float4 t = {threshold, threshold, threshold, threshold};
  Int4 below = {-1, -1, -1, -1};
  for (int64_t i = 0; i < kScanBlock; i += 4) {
    Float4 v;
    __builtin_memcpy(&v, x + i, sizeof(v));
    below &= v <= t;
  }
  return (below[0] & below[1] & below[2] & below[3]) == 0;
}

}  // namespace sampling_internal

template <typename F>
void ForEachAbove(const float* x, int64_t n, const float& threshold, F&& f) {
  using sampling_internal::AnyAbove;
  using sampling_internal::kScanBlock;
  int64_t i = 0;
  for (; i + kScanBlock <= n; i += kScanBlock) {
    if (!AnyAbove(x + i, threshold)) continue;
    for (int64_t j = i; j < i + kScanBlock; ++j) {
      if (!(x[j] <= threshold)) f(j);
    }
  }
  for (; i < n; ++i) {
    if (!(x[i] <= threshold)) f(i);
  }
}

}  // namespace lynx
