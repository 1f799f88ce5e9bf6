// Every instruction that needs inline assembly, with its emulated twin.
#pragma once
#include "kernels/cuda/device.cuh"

#if !LYNX_EMULATED

// A thread's copies of 16 bytes from global to shared memory. They are made in groups: what a
// thread issued before a commit. Bytes beyond src_bytes become zero. Both addresses are multiples
// of 16. Visible to the thread itself after the wait, to others after a barrier behind it.
LYNX_DEVICE uint32_t SmemAddr(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}
LYNX_DEVICE void CpAsync16(void* dst, const void* src, int src_bytes = 16) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(SmemAddr(dst)),
               "l"(__cvta_generic_to_global(src)), "r"(src_bytes)
               : "memory");
}
LYNX_DEVICE void CpAsyncCommit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until at most the newest N groups are under way.
template <int N>
LYNX_DEVICE void CpAsyncWait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// Four 8x8 matrices of 16-bit elements from shared memory: lane i gives the address of row i % 8 of
// matrix i / 8, a multiple of 16, and gets elements 2 * (i % 4) and + 1 of row i / 4 of each.
LYNX_DEVICE void Ldmatrix4(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(SmemAddr(row))
               : "memory");
}
// The same of the transposed matrices.
LYNX_DEVICE void Ldmatrix4Trans(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(SmemAddr(row))
               : "memory");
}
// d[16, 8] += a[16, 16] * b[16, 8] in the fragments of mma.m16n8k16 (PTX manual). The order of the
// sum over k, and its rounding, are the device's own.
LYNX_DEVICE void MmaBf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// 2^x to 2 units in the last place; not the same bits on other devices.
LYNX_DEVICE float Exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Barrier `id` (1 to 15; __syncthreads is 0) for n of the block's threads, whole warps.
LYNX_DEVICE void NamedBarrier(int id, int n) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(n) : "memory");
}

// A plain access to shared memory that the emulation is to count the bank conflicts of: every lane
// of the warp makes it.
template <class T>
LYNX_DEVICE T LoadShared(const T* p) {
  return *p;
}
template <class T>
LYNX_DEVICE void StoreShared(T* p, T value) {
  *p = value;
}

#else

#include "ptx.h"

inline void CpAsync16(void* dst, const void* src, int src_bytes = 16, SIMT_L) {
  simt::CpAsync16(dst, src, src_bytes, l);
}
inline void CpAsyncCommit() { simt::CpCommit(); }
template <int N>
void CpAsyncWait() {
  simt::CpAsyncWait(N);
}
inline void Ldmatrix4(uint32_t (&r)[4], const void* row, SIMT_L) {
  simt::Ldmatrix<false>(r, row, l);
}
inline void Ldmatrix4Trans(uint32_t (&r)[4], const void* row, SIMT_L) {
  simt::Ldmatrix<true>(r, row, l);
}
inline void MmaBf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, SIMT_L) {
  simt::MmaBf16(d, a, b0, b1, l);
}
inline float Exp2(float x) { return std::exp2(x); }
inline void NamedBarrier(int id, int n, SIMT_L) { simt::BarrierSync(id, n, l); }
template <class T>
T LoadShared(const T* p, SIMT_L) {
  simt::CountSharedAccess(p, sizeof(T), l);
  return *p;
}
template <class T>
void StoreShared(T* p, T value, SIMT_L) {
  simt::CountSharedAccess(p, sizeof(T), l);
  *p = value;
}

#endif
