// The only header a kernel source includes: real CUDA under nvcc, the SIMT emulator under g++.
#pragma once
#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <utility>
#define LYNX_EMULATED 0
#define LYNX_DEVICE __device__ __forceinline__
#else
#include <simt.h>
#define LYNX_EMULATED 1
#define LYNX_DEVICE inline
#endif

// Shared memory: one dynamic array, carved up in the same order by every thread.
// Take() is constexpr-foldable under nvcc; Size<>-style sums on the host use the same arithmetic
// (SmemSize).
class SmemAlloc {
 public:
#if LYNX_EMULATED
  SmemAlloc() = default;
  template <class T>
  T* Take(size_t n, size_t align = 128, SIMT_L) {
    return static_cast<T*>(simt::SmemTake(off_, n * sizeof(T), align, l));
  }
#else
  __device__ __forceinline__ SmemAlloc() {}
  template <class T>
  __device__ __forceinline__ T* Take(size_t n, size_t align = 128) {
    extern __shared__ __align__(1024) unsigned char lynx_smem_raw[];
    size_t at = (off_ + align - 1) & ~(align - 1);
    off_ = at + n * sizeof(T);
    return reinterpret_cast<T*>(lynx_smem_raw + at);
  }
#endif
 private:
  size_t off_ = 0;
};

// Queues a launch of `k` on the stream. An invalid configuration is returned at once; an error of
// the kernel by a later synchronization.
template <class... P, class... A>
cudaError_t Launch(const char* name, void (*k)(P...), dim3 grid, dim3 block, size_t smem,
                   cudaStream_t st, A&&... a) {
#if LYNX_EMULATED
  if (!simt::ValidLaunch(grid, block, smem)) return simt::RejectLaunch();
  auto body = [k, ... c = static_cast<P>(a)]() {
    k(c...);
  };  // by-value copies, as the device gets them
  simt::Enqueue(st, [=]() mutable {
    auto thunk = [](void* f) { (*static_cast<decltype(body)*>(f))(); };
    simt::RunGrid(grid, block, smem, thunk, &body, name);
  });
  return cudaSuccess;
#else
  (void)name;
  if (smem > 48 * 1024) {
    cudaError_t e =
        cudaFuncSetAttribute(reinterpret_cast<const void*>(k),
                             cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(smem));
    if (e != cudaSuccess) return e;
  }
  cudaLaunchConfig_t c{};
  c.gridDim = grid;
  c.blockDim = block;
  c.dynamicSmemBytes = smem;
  c.stream = st;
  return cudaLaunchKernelEx(&c, k, static_cast<P>(std::forward<A>(a))...);
#endif
}
