// Steps of the code without a table in memory: the same numbers as kernels/kv_split_inl.h.
#pragma once

#include "kernels/cuda/device.cuh"
#include "kernels/kv_split_inl.h"

namespace lynx::cuda {

// StepMantissa(index) for an index >= kFirst.
template <int kFirst = 0>
LYNX_DEVICE uint32_t MantissaOf(int index) {
  constexpr uint32_t kMantissa = StepMantissa(kFirst);
  if constexpr (kFirst == 7) {
    return kMantissa;
  } else {
    return index == kFirst ? kMantissa : MantissaOf<kFirst + 1>(index);
  }
}

// How many mantissas from kFirst on are below `mantissa`: they ascend.
template <int kFirst = 0>
LYNX_DEVICE int MantissasBelow(uint32_t mantissa) {
  constexpr uint32_t kMantissa = StepMantissa(kFirst);
  const int here = kMantissa < mantissa ? 1 : 0;
  if constexpr (kFirst == 7) {
    return here;
  } else {
    return here + MantissasBelow<kFirst + 1>(mantissa);
  }
}

// StepOf(k).
LYNX_DEVICE float DeviceStepOf(int k) {
  return __uint_as_float(static_cast<uint32_t>((k >> 3) + 127) << 23 | MantissaOf(k & 7));
}

// GroupStepCode(lo, max).
LYNX_DEVICE int DeviceGroupStepCode(float lo, float max) {
  const uint32_t bits = __float_as_uint((max - lo) / 255.0f);
  const int exponent = static_cast<int>(bits >> 23) - 127;
  if (exponent < kMinStep / 8) return kMinStep;
  return exponent * 8 + MantissasBelow(bits & 0x7fffffu);
}

}  // namespace lynx::cuda
