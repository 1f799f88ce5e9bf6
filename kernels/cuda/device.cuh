// What a kernel source includes of CUDA, beside ptx.cuh: the real thing under nvcc, the emulator
// (tests/simt) under a C++ compiler. docs/gpu.md has the rules for kernels that run on both.
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

// Where Take puts an array of shared memory: for the host-side function that adds up what a kernel
// takes. Equal on host and device.
constexpr size_t SmemEnd(size_t offset, size_t bytes, size_t align = 128) {
  return (offset + align - 1) / align * align + bytes;
}

// Shared memory: the launch's bytes, given out as arrays in the order of the calls. All threads of
// the block make the same calls in the same order.
class SmemAlloc {
 public:
#if LYNX_EMULATED
  SmemAlloc() = default;
  template <class T>
  T* Take(size_t n, size_t align = 128, SIMT_L) {
    return static_cast<T*>(simt::SmemTake(end_, n * sizeof(T), align, l));
  }
#else
  __device__ __forceinline__ SmemAlloc() {}
  template <class T>
  __device__ __forceinline__ T* Take(size_t n, size_t align = 128) {
    extern __shared__ __align__(1024) unsigned char lynx_smem_raw[];
    const size_t at = (end_ + align - 1) & ~(align - 1);
    end_ = at + n * sizeof(T);
    return reinterpret_cast<T*>(lynx_smem_raw + at);
  }
#endif

 private:
  size_t end_ = 0;
};

// Queues kernel(arguments...) on the stream; smem_bytes is what SmemAlloc may give out. An invalid
// configuration is returned at once; what the kernel does wrong, by a later synchronization.
template <class... P, class... A>
cudaError_t Launch(const char* name, void (*kernel)(P...), dim3 grid, dim3 block, size_t smem_bytes,
                   cudaStream_t stream, A&&... arguments) {
#if LYNX_EMULATED
  // Copies by value, as the device gets them.
  auto thread_body = [kernel, ... copies = static_cast<P>(arguments)] { kernel(copies...); };
  return simt::QueueLaunch(name, reinterpret_cast<const void*>(kernel), grid, block, smem_bytes,
                           stream, std::move(thread_body));
#else
  (void)name;
  constexpr size_t kWithoutOptIn = 48 * 1024;
  if (smem_bytes > kWithoutOptIn) {
    const cudaError_t error = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                                   cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                   static_cast<int>(smem_bytes));
    if (error != cudaSuccess) return error;
  }
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = smem_bytes;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, static_cast<P>(std::forward<A>(arguments))...);
#endif
}
