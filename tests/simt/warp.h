// Functions of a warp. Each takes the place that it is called from: all lanes must come from there.
#pragma once

#include <cstdint>
#include <type_traits>

#include "api.h"

namespace simt {

enum class ShuffleKind : uint32_t { kIndex, kXor, kDown, kUp };

template <class T>
T Shuffle(ShuffleKind kind, unsigned mask, T value, int source, Loc l) {
  static_assert(sizeof(T) <= 16 && std::is_trivially_copyable_v<T>);
  constexpr int kWords = (sizeof(T) + 3) / 4;
  uint32_t in[1 + kWords] = {static_cast<uint32_t>(source)};
  uint32_t out[kWords];
  __builtin_memcpy(in + 1, &value, sizeof(T));
  Collective(Op::kShfl, mask, in, 1 + kWords, out, kWords, static_cast<uint32_t>(kind), l);
  __builtin_memcpy(&value, out, sizeof(T));
  return value;
}

inline uint32_t Vote(unsigned mask, bool predicate, Loc l) {
  const uint32_t in = predicate ? 1 : 0;
  uint32_t out = 0;
  Collective(Op::kVote, mask, &in, 1, &out, 1, 0, l);
  return out;
}

template <class T>
T ReduceSync(Reduce how, unsigned mask, T value, Loc l) {
  static_assert(sizeof(T) == 4 && std::is_integral_v<T>);
  const auto in = static_cast<uint32_t>(value);
  uint32_t out = 0;
  Collective(Op::kReduce, mask, &in, 1, &out, 1, static_cast<uint32_t>(how), l);
  return static_cast<T>(out);
}

template <class T>
uint32_t MatchAny(unsigned mask, T value, Loc l) {
  static_assert((sizeof(T) == 4 || sizeof(T) == 8) && std::is_trivially_copyable_v<T>);
  uint32_t in[2] = {};
  uint32_t out = 0;
  __builtin_memcpy(in, &value, sizeof(T));
  Collective(Op::kMatch, mask, in, 2, &out, 1, 0, l);
  return out;
}

}  // namespace simt

inline void __syncwarp(unsigned mask = ~0u, SIMT_L) {
  simt::Collective(simt::Op::kSyncwarp, mask, nullptr, 0, nullptr, 0, 0, l);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32, SIMT_L) {
  const int first = simt::Lane() & ~(width - 1);
  return simt::Shuffle(simt::ShuffleKind::kIndex, mask, value, first + (lane & (width - 1)), l);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, SIMT_L) {
  const int lane = simt::Lane();
  const int source = lane ^ lanes;
  const int end = (lane & ~(width - 1)) + width;
  return simt::Shuffle(simt::ShuffleKind::kXor, mask, value, source < end ? source : lane, l);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, SIMT_L) {
  const int lane = simt::Lane();
  const int source = lane + static_cast<int>(delta);
  const int end = (lane & ~(width - 1)) + width;
  return simt::Shuffle(simt::ShuffleKind::kDown, mask, value, source < end ? source : lane, l);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, SIMT_L) {
  const int lane = simt::Lane();
  const int source = lane - static_cast<int>(delta);
  const int first = lane & ~(width - 1);
  return simt::Shuffle(simt::ShuffleKind::kUp, mask, value, source >= first ? source : lane, l);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, SIMT_L) {
  return simt::Vote(mask, predicate != 0, l);
}
inline int __any_sync(unsigned mask, int predicate, SIMT_L) {
  return simt::Vote(mask, predicate != 0, l) != 0 ? 1 : 0;
}
inline int __all_sync(unsigned mask, int predicate, SIMT_L) {
  return simt::Vote(mask, predicate != 0, l) == mask ? 1 : 0;
}

// T: int or unsigned.
template <class T>
T __reduce_add_sync(unsigned mask, T value, SIMT_L) {
  return simt::ReduceSync(simt::Reduce::kAdd, mask, value, l);
}
template <class T>
T __reduce_min_sync(unsigned mask, T value, SIMT_L) {
  constexpr bool kSigned = std::is_signed_v<T>;
  return simt::ReduceSync(kSigned ? simt::Reduce::kMinSigned : simt::Reduce::kMin, mask, value, l);
}
template <class T>
T __reduce_max_sync(unsigned mask, T value, SIMT_L) {
  constexpr bool kSigned = std::is_signed_v<T>;
  return simt::ReduceSync(kSigned ? simt::Reduce::kMaxSigned : simt::Reduce::kMax, mask, value, l);
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned value, SIMT_L) {
  return simt::ReduceSync(simt::Reduce::kAnd, mask, value, l);
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned value, SIMT_L) {
  return simt::ReduceSync(simt::Reduce::kOr, mask, value, l);
}
inline unsigned __reduce_xor_sync(unsigned mask, unsigned value, SIMT_L) {
  return simt::ReduceSync(simt::Reduce::kXor, mask, value, l);
}

template <class T>
unsigned __match_any_sync(unsigned mask, T value, SIMT_L) {
  return simt::MatchAny(mask, value, l);
}
template <class T>
unsigned __match_all_sync(unsigned mask, T value, int* all, SIMT_L) {
  *all = simt::MatchAny(mask, value, l) == mask ? 1 : 0;
  return *all != 0 ? mask : 0;
}
