// BF16: the upper half of a float32. The one conversion used everywhere, on host and device.
#pragma once

#include <bit>
#include <cstdint>

#ifdef __CUDACC__
#define LYNX_HOST_DEVICE __host__ __device__
#else
#define LYNX_HOST_DEVICE
#endif

namespace lynx {

struct bf16 {
  uint16_t bits;
  friend constexpr bool operator==(bf16 a, bf16 b) { return a.bits == b.bits; }
};
static_assert(sizeof(bf16) == 2);

LYNX_HOST_DEVICE constexpr float ToFloat(bf16 x) {
  return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16);
}

// Round to nearest, ties to even. A NaN stays a (quiet) NaN; overflow gives infinity.
LYNX_HOST_DEVICE constexpr bf16 ToBf16(float x) {
  uint32_t u = std::bit_cast<uint32_t>(x);
  if ((u & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((u >> 16) | 0x40u)};
  return {static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16)};
}

}  // namespace lynx
