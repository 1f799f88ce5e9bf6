// SIMT emulator for tests: lets the project's .cu sources compile with plain g++ and run on the
// CPU. One CUDA thread = one fiber; one block at a time per OS thread; see simt.cc for the
// scheduler.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

// __global__/__device__/__host__ come out empty from the toolkit's host_defines.h without
// __CUDACC__. Forbid the two that would silently mean something else here.
#undef __shared__
#define __shared__ _Pragma("GCC error \"use SmemAlloc, not __shared__\"")
#undef __constant__
#define __constant__ _Pragma("GCC error \"no __constant__: pass a kernel parameter\"")
#undef __launch_bounds__
#define __launch_bounds__(...)

#include <functional>
namespace simt {
// Work on a stream of the fake runtime, which runs it when somebody synchronizes or polls.
void Enqueue(cudaStream_t stream, std::function<void()> work);
struct Loc {
  const char* file;
  unsigned line;
};
#define SIMT_HERE \
  simt::Loc { __builtin_FILE(), static_cast<unsigned>(__builtin_LINE()) }
#define SIMT_L simt::Loc l = SIMT_HERE
struct U3 {
  unsigned x, y, z;
};
enum class Op : uint8_t { kSyncwarp, kShfl, kVote, kLdmatrix, kMmaBf16 };
struct CpOp {
  void* dst;
  const void* src;
  int n;
};

// ---- entry points implemented in simt.cc (never instrumented by a sanitizer)
[[noreturn]] void Fail(Loc l, const char* fmt, ...) __attribute__((format(printf, 2, 3)));
void BarrierSync(int id, int nthreads, Loc l);  // nthreads 0 = all threads not exited
int Lane();
// All lanes in `mask` meet; in[lane] words are collected, out[lane] words are computed by the last
// one.
void Collective(Op op, unsigned mask, const uint32_t* in, int nin, uint32_t* out, int nout,
                uint32_t imm, Loc l);
void* SmemTake(size_t& cursor, size_t bytes, size_t align, Loc l);
const void* LdsmRow(int lane);  // address that `lane` gave to the ldmatrix just completed
bool InSmem(const void* p, size_t n);
void CpPush(CpOp op);
void CpCommit();
int CpWait(int n, CpOp** ops);  // the copies that a wait for all but the newest n groups completes
void Yield(SIMT_L);
uint32_t Rand();  // scheduler's seeded generator
bool CpEager();

struct Options {
  uint64_t seed = 0;
  bool cp_defer = true;
};
Options& options();
struct Stats {
  uint64_t blocks = 0, switches = 0, collectives = 0, ldsm_conflicts = 0, ldsm = 0;
};
Stats& stats();
bool ValidLaunch(dim3 grid, dim3 block, size_t smem);
// Makes an invalid configuration known to cudaGetLastError.
cudaError_t RejectLaunch();
// Runs the grid now. Returns "" or the first error. kernel launches map to this.
const char* RunGrid(dim3 grid, dim3 block, size_t smem, void (*body)(void*), void* arg,
                    const char* name);
extern char last_error[2048];  // sticky like a CUDA context error, cleared by the test
}  // namespace simt

extern constinit thread_local simt::U3 threadIdx, blockIdx, blockDim, gridDim;
constexpr int warpSize = 32;

// ---- barriers, warp collectives
inline void __syncthreads(SIMT_L) { simt::BarrierSync(0, 0, l); }
inline void __syncwarp(unsigned m = ~0u, SIMT_L) {
  simt::Collective(simt::Op::kSyncwarp, m, nullptr, 0, nullptr, 0, 0, l);
}
inline void __threadfence() { __atomic_signal_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() { __atomic_signal_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_system() { __atomic_signal_fence(__ATOMIC_SEQ_CST); }

namespace simt {
template <class T>
T Shfl(unsigned m, T v, int src, uint32_t sub, Loc l) {
  static_assert(sizeof(T) % 4 == 0 && sizeof(T) <= 16 && std::is_trivially_copyable_v<T>);
  uint32_t in[1 + sizeof(T) / 4], out[sizeof(T) / 4];
  in[0] = static_cast<uint32_t>(src);
  __builtin_memcpy(in + 1, &v, sizeof(T));
  Collective(Op::kShfl, m, in, 1 + sizeof(T) / 4, out, sizeof(T) / 4, sub, l);
  __builtin_memcpy(&v, out, sizeof(T));
  return v;
}
inline uint32_t Vote(unsigned m, bool p, Loc l) {
  uint32_t in = p, out;
  Collective(Op::kVote, m, &in, 1, &out, 1, 0, l);
  return out;
}
}  // namespace simt
template <class T>
T __shfl_sync(unsigned m, T v, int s, int w = 32, SIMT_L) {
  int b = simt::Lane() & ~(w - 1);
  return simt::Shfl(m, v, b + (s & (w - 1)), 0, l);
}
template <class T>
T __shfl_xor_sync(unsigned m, T v, int x, int w = 32, SIMT_L) {
  int me = simt::Lane(), s = me ^ x;
  return simt::Shfl(m, v, s < (me & ~(w - 1)) + w ? s : me, 1, l);
}
template <class T>
T __shfl_down_sync(unsigned m, T v, unsigned d, int w = 32, SIMT_L) {
  int me = simt::Lane(), s = me + static_cast<int>(d);
  return simt::Shfl(m, v, s < (me & ~(w - 1)) + w ? s : me, 2, l);
}
template <class T>
T __shfl_up_sync(unsigned m, T v, unsigned d, int w = 32, SIMT_L) {
  int me = simt::Lane(), s = me - static_cast<int>(d);
  return simt::Shfl(m, v, s >= (me & ~(w - 1)) ? s : me, 3, l);
}
inline unsigned __ballot_sync(unsigned m, int p, SIMT_L) { return simt::Vote(m, p != 0, l); }
inline int __any_sync(unsigned m, int p, SIMT_L) { return simt::Vote(m, p != 0, l) != 0; }
inline int __all_sync(unsigned m, int p, SIMT_L) { return simt::Vote(m, p != 0, l) == m; }

// ---- atomics (acq_rel in the emulation: lenient on purpose, __threadfence is not modelled)
template <class T>
T simt_rmw(T* p, auto f) {
  T o, n;
  if constexpr (sizeof(T) == 4 || sizeof(T) == 8) {
    __atomic_load(p, &o, __ATOMIC_ACQUIRE);
    do {
      n = f(o);
    } while (!__atomic_compare_exchange(p, &o, &n, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
  }
  return o;
}
template <class T>
T atomicAdd(T* p, std::type_identity_t<T> v) {
  return simt_rmw(p, [&](T o) { return static_cast<T>(o + v); });
}
template <class T>
T atomicMax(T* p, std::type_identity_t<T> v) {
  return simt_rmw(p, [&](T o) { return o > v ? o : v; });
}
template <class T>
T atomicMin(T* p, std::type_identity_t<T> v) {
  return simt_rmw(p, [&](T o) { return o < v ? o : v; });
}
template <class T>
T atomicOr(T* p, std::type_identity_t<T> v) {
  return simt_rmw(p, [&](T o) { return o | v; });
}
template <class T>
T atomicExch(T* p, std::type_identity_t<T> v) {
  return simt_rmw(p, [&](T) { return v; });
}
template <class T>
T atomicCAS(T* p, std::type_identity_t<T> c, std::type_identity_t<T> v) {
  return simt_rmw(p, [&](T o) { return o == c ? v : o; });
}
inline unsigned atomicInc(unsigned* p, unsigned m) {
  return simt_rmw(p, [&](unsigned o) { return o >= m ? 0u : o + 1; });
}

// ---- intrinsics the toolkit's headers do not give to a host compiler
template <class T>
T __ldg(const T* p) {
  return *p;
}
template <class T>
T __ldcs(const T* p) {
  return *p;
}
template <class T>
void __stcs(T* p, T v) {
  *p = v;
}
inline int __float_as_int(float f) { return std::bit_cast<int>(f); }
inline unsigned __float_as_uint(float f) { return std::bit_cast<unsigned>(f); }
inline float __uint_as_float(unsigned u) { return std::bit_cast<float>(u); }
inline float __int_as_float(int u) { return std::bit_cast<float>(u); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float rsqrtf(float a) { return 1.0f / std::sqrt(a); }
inline int __popc(unsigned v) { return std::popcount(v); }
inline int __clz(int v) { return std::countl_zero(static_cast<unsigned>(v)); }
inline int __ffs(int v) { return v ? std::countr_zero(static_cast<unsigned>(v)) + 1 : 0; }
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned s) {
  uint64_t v = (static_cast<uint64_t>(b) << 32) | a;
  unsigned r = 0;
  for (int i = 0; i < 4; ++i) {
    unsigned sel = (s >> (4 * i)) & 0xf, byte = (v >> (8 * (sel & 7))) & 0xff;
    if (sel & 8) byte = (byte & 0x80) ? 0xff : 0;
    r |= byte << (8 * i);
  }
  return r;
}
#define __expf(x) simt_expf(x)  // glibc's <math.h> may declare a function of this name
inline float simt_expf(float x) { return std::exp(x); }
using std::max;
using std::min;
