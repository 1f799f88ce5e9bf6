// CUDA's language for a C++ compiler: what a kernel source needs of it, on the emulator. Included
// by kernels/cuda/device.cuh, never by a kernel itself.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

// __global__, __device__ and __host__ come out empty from the toolkit's headers without __CUDACC__.
// So do two that would silently mean something else here: make them errors.
#undef __shared__
#define __shared__ _Pragma("GCC error \"use SmemAlloc, not __shared__\"")
#undef __constant__
#define __constant__ _Pragma("GCC error \"no __constant__: pass a kernel parameter\"")
#undef __launch_bounds__
#define __launch_bounds__(...)

#include "api.h"
#include "atomics.h"
#include "fake_cuda.h"
#include "intrinsics.h"
#include "warp.h"

constexpr int warpSize = 32;

inline void __syncthreads(SIMT_L) { simt::BarrierSync(0, 0, l); }
inline void __nanosleep(unsigned, SIMT_L) { simt::Yield(l); }
// Blocks see each other's writes at once here: a missing fence does not show.
inline void __threadfence() { __atomic_signal_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() { __atomic_signal_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_system() { __atomic_signal_fence(__ATOMIC_SEQ_CST); }
[[noreturn]] inline void __trap(SIMT_L) { simt::Fail(l, "__trap()"); }
