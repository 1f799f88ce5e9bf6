// What the kernels of sampling do with all threads of a block.
#pragma once

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/sample_scratch.h"

namespace lynx::cuda {

template <class T>
struct Words {
  static_assert(sizeof(T) % 4 == 0);
  static constexpr int kCount = sizeof(T) / 4;
  uint32_t word[kCount];
};

template <class T>
LYNX_DEVICE T ShuffleXor(const T& value, int lanes) {
  auto words = std::bit_cast<Words<T>>(value);
#pragma unroll
  for (int i = 0; i < Words<T>::kCount; ++i) {
    words.word[i] = __shfl_xor_sync(~0u, words.word[i], lanes);
  }
  return std::bit_cast<T>(words);
}

template <class T>
LYNX_DEVICE T ShuffleUp(const T& value, unsigned lanes) {
  auto words = std::bit_cast<Words<T>>(value);
#pragma unroll
  for (int i = 0; i < Words<T>::kCount; ++i) {
    words.word[i] = __shfl_up_sync(~0u, words.word[i], lanes);
  }
  return std::bit_cast<T>(words);
}

// All threads' values as one, for every thread; `combine` is commutative and associative.
// room: [kSampleThreads] of shared memory.
template <class T, class Combine>
LYNX_DEVICE T ReduceOverBlock(T value, T* room, Combine combine) {
  __syncthreads();  // an earlier reduction's result has been read
  room[threadIdx.x] = value;
  __syncthreads();
  if (threadIdx.x < 32) {
    for (int i = threadIdx.x + 32; i < kSampleThreads; i += 32) value = combine(value, room[i]);
    for (int lanes = 16; lanes > 0; lanes /= 2) value = combine(value, ShuffleXor(value, lanes));
    __syncwarp();
    if (threadIdx.x == 0) room[0] = value;
  }
  __syncthreads();
  return room[0];
}

// What another block has written: not through this SM's first cache, which may hold the line as it
// was before.
template <class T>
LYNX_DEVICE T LoadFromOthers(const T* p) {
  static_assert(sizeof(T) % 8 == 0 && alignof(T) == 8);
  struct Longs {
    unsigned long long word[sizeof(T) / 8];
  } longs;
#pragma unroll
  for (size_t i = 0; i < sizeof(T) / 8; ++i) {
    longs.word[i] = __ldcg(reinterpret_cast<const unsigned long long*>(p) + i);
  }
  return std::bit_cast<T>(longs);
}

// Is this the last of the row's blocks to come here? It then sees what the others wrote before.
LYNX_DEVICE bool IsLastBlock(uint32_t* done, uint32_t* is_last) {
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) *is_last = atomicAdd(done, 1u) + 1 == gridDim.x ? 1 : 0;
  __syncthreads();
  __threadfence();
  return *is_last != 0;
}

struct EdgeRoom {  // in shared memory
  Mass sums[kSampleThreads];
  Mass total;
  SampleEdge edge;
};

// sums becomes, for each thread, the sum of those before it; total is that of all.
LYNX_DEVICE void ScanSums(EdgeRoom* room) {
  __syncthreads();
  if (threadIdx.x < 32) {
    constexpr int kPerLane = kSampleThreads / 32;
    Mass* sums = room->sums + threadIdx.x * kPerLane;
    Mass own = 0;
    for (int i = 0; i < kPerLane; ++i) own += sums[i];
    Mass through = own;
    for (unsigned lanes = 1; lanes < 32; lanes *= 2) {
      const Mass other = ShuffleUp(through, lanes);
      if (threadIdx.x >= lanes) through += other;
    }
    if (threadIdx.x == 31) room->total = through;
    Mass before = through - own;
    for (int i = 0; i < kPerLane; ++i) {
      const Mass sum = sums[i];
      sums[i] = before;
      before += sum;
    }
  }
  __syncthreads();
}

// Where the weights of items 0 .. count - 1 behind `before` reach wanted(total): `bin` is the item.
// The same for every thread.
template <class WeightAt, class Wanted>
LYNX_DEVICE SampleEdge FindEdge(int count, Mass before, WeightAt weight_at, Wanted wanted,
                                EdgeRoom* room) {
  const int per_thread = (count + kSampleThreads - 1) / kSampleThreads;
  const int begin = min(count, static_cast<int>(threadIdx.x) * per_thread);
  const int end = min(count, begin + per_thread);
  Mass own = 0;
  for (int i = begin; i < end; ++i) own += weight_at(i);
  __syncthreads();
  room->sums[threadIdx.x] = own;
  if (threadIdx.x == 0) room->edge.found = 0;
  ScanSums(room);
  const Mass target = wanted(room->total);
  Mass sum = before + room->sums[threadIdx.x];
  if (!MassReached(sum, target) && MassReached(sum + own, target)) {
    int item = begin;
    Mass weight = weight_at(item);
    while (!MassReached(sum + weight, target)) {
      sum += weight;
      weight = weight_at(++item);
    }
    room->edge = {.wanted = target, .before = sum, .found = 1, .bin = item};
  }
  __syncthreads();
  return room->edge;
}

}  // namespace lynx::cuda
