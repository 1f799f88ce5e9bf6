// Code planes in shared memory to B operands: a lane's group of 16 pairs of codes as BF16 pairs.
#pragma once

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/kv_layout_inl.h"
#include "kernels/kv_split_inl.h"

namespace lynx::cuda {

// One side's planes of a page and KV head, in shared memory.
struct Planes {
  const std::byte* anchor;
  const std::byte* residual;
  int anchor_bits;
  bool full;  // the Residual's bits too
};

// What a lane reads of the planes.
struct GroupPlace {
  int warp, group, lane;
};

// A lane's `kWidth` words of a sub-plane.
template <int kWidth>
LYNX_DEVICE void LoadGroup(const std::byte* plane, int head_dim, GroupPlace at,
                           uint32_t (&words)[kWidth]) {
  const auto* base = reinterpret_cast<const uint32_t*>(plane);
  const auto index = [&](int word) {
    return GroupWordIndex(head_dim, kWidth, at.warp, at.group, at.lane, word);
  };
  if constexpr (kWidth == 1) {
    words[0] = base[index(0)];
  } else if constexpr (kWidth == 2) {
    const uint2 load = *reinterpret_cast<const uint2*>(base + index(0));
    words[0] = load.x;
    words[1] = load.y;
  } else {
#pragma unroll
    for (int i = 0; i < kWidth; i += 4) {
      const uint4 load = *reinterpret_cast<const uint4*>(base + index(i));
      words[i] = load.x;
      words[i + 1] = load.y;
      words[i + 2] = load.z;
      words[i + 3] = load.w;
    }
  }
}

// ORs a sub-plane's fields to bit kPlace (and 16 + kPlace) of the codes.
template <int kWidth, int kPlace>
LYNX_DEVICE void AddSubPlane(const std::byte* plane, int head_dim, GroupPlace at,
                             uint32_t (&codes)[kGroupPairs]) {
  constexpr int kPerWord = kGroupPairs / kWidth;
  constexpr uint32_t kMask = ((1u << kWidth) - 1) * 0x10001u << kPlace;
  uint32_t words[kWidth];
  LoadGroup<kWidth>(plane, head_dim, at, words);
#pragma unroll
  for (int pair = 0; pair < kGroupPairs; ++pair) {
    const int shift = pair % kPerWord * kWidth - kPlace;
    const uint32_t word = words[pair / kPerWord];
    codes[pair] |= (shift >= 0 ? word >> (shift & 31) : word << (-shift & 31)) & kMask;
  }
}

// ORs a plane of kBits bits whose lowest bit goes to bit kPlace.
template <int kBits, int kPlace, int kWidth = 8>
LYNX_DEVICE void AddPlane(const std::byte* plane, int head_dim, GroupPlace at,
                          uint32_t (&codes)[kGroupPairs]) {
  if constexpr ((kBits & kWidth) != 0) {
    AddSubPlane<kWidth, kPlace + (kBits & (kWidth - 1))>(plane, head_dim, at, codes);
    plane += CodePlaneBytes(head_dim, kWidth);
  }
  if constexpr (kWidth > 1) AddPlane<kBits, kPlace, kWidth / 2>(plane, head_dim, at, codes);
}

// first - second for BF16 pairs.
LYNX_DEVICE uint32_t SubtractPairs(uint32_t first, uint32_t second) {
  const auto pair = [](uint32_t bits) {
    return __halves2bfloat162(__ushort_as_bfloat16(static_cast<unsigned short>(bits & 0xffffu)),
                              __ushort_as_bfloat16(static_cast<unsigned short>(bits >> 16)));
  };
  const __nv_bfloat162 difference = __hsub2(pair(first), pair(second));
  return static_cast<uint32_t>(__bfloat16_as_ushort(difference.x)) |
         static_cast<uint32_t>(__bfloat16_as_ushort(difference.y)) << 16;
}

// Pairs of integers 0 .. 2^kBits - 1 at bits 0 and 16 to BF16 pairs. 0x4300 | n is 128 + n for n
// below 128; with bit 7 set the lower bits alone already give n.
template <int kBits>
LYNX_DEVICE uint32_t ToBf16Pair(uint32_t codes) {
  constexpr uint32_t k128 = 0x43004300u;
  if constexpr (kBits < 8) return SubtractPairs(codes | k128, k128);
  const uint32_t bit7 = codes >> 7 & 0x00010001u;
  return SubtractPairs((codes & 0x007f007fu) | k128, k128 - bit7 * 0x4300u);
}

template <int kAnchorBits, bool kFull>
LYNX_DEVICE void UnpackGroupOf(const Planes& planes, int head_dim, GroupPlace at,
                               uint32_t (&codes)[kGroupPairs]) {
  constexpr int kRest = kFull ? kCodeBits - kAnchorBits : 0;
#pragma unroll
  for (int pair = 0; pair < kGroupPairs; ++pair) codes[pair] = 0;
  AddPlane<kAnchorBits, kRest>(planes.anchor, head_dim, at, codes);
  if constexpr (kRest > 0) AddPlane<kRest, 0>(planes.residual, head_dim, at, codes);
#pragma unroll
  for (int pair = 0; pair < kGroupPairs; ++pair) {
    codes[pair] = ToBf16Pair<kAnchorBits + kRest>(codes[pair]);
  }
}

template <int kAnchorBits>
LYNX_DEVICE void UnpackGroupOf(const Planes& planes, int head_dim, GroupPlace at,
                               uint32_t (&codes)[kGroupPairs]) {
  if (planes.full) {
    UnpackGroupOf<kAnchorBits, true>(planes, head_dim, at, codes);
  } else {
    UnpackGroupOf<kAnchorBits, false>(planes, head_dim, at, codes);
  }
}

// The 16 pairs of a lane's group as BF16 pairs.
LYNX_DEVICE void UnpackGroup(const Planes& planes, int head_dim, GroupPlace at,
                             uint32_t (&codes)[kGroupPairs]) {
  switch (planes.anchor_bits) {
    case 3:
      return UnpackGroupOf<3>(planes, head_dim, at, codes);
    case 4:
      return UnpackGroupOf<4>(planes, head_dim, at, codes);
    case 5:
      return UnpackGroupOf<5>(planes, head_dim, at, codes);
    case 6:
      return UnpackGroupOf<6>(planes, head_dim, at, codes);
    case 7:
      return UnpackGroupOf<7>(planes, head_dim, at, codes);
    default:
      return UnpackGroupOf<8, false>(planes, head_dim, at, codes);
  }
}

}  // namespace lynx::cuda
