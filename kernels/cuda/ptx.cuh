// Every inline-PTX instruction of the project, each with its emulated twin.
#pragma once
#include "device.cuh"

#if !LYNX_EMULATED
LYNX_DEVICE uint32_t SmemAddr(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}
// 16 bytes global -> shared; bytes beyond src_bytes are filled with zero.
LYNX_DEVICE void CpAsync16(void* dst, const void* src, int src_bytes = 16) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(SmemAddr(dst)),
               "l"(__cvta_generic_to_global(src)), "r"(src_bytes)
               : "memory");
}
LYNX_DEVICE void CpAsyncCommit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N>
LYNX_DEVICE void CpAsyncWait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}
LYNX_DEVICE void Ldmatrix4(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(SmemAddr(row))
               : "memory");
}
LYNX_DEVICE void Ldmatrix4Trans(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(SmemAddr(row))
               : "memory");
}
LYNX_DEVICE void MmaBf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
LYNX_DEVICE float Exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
LYNX_DEVICE void NamedBarrier(int id, int n) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(n) : "memory");
}

#else  // ---------------------------------------------------------------- emulated
inline void CpAsync16(void* dst, const void* src, int src_bytes = 16, SIMT_L) {
  if (reinterpret_cast<uintptr_t>(dst) % 16 || reinterpret_cast<uintptr_t>(src) % 16)
    simt::Fail(l, "cp.async: address not 16-byte aligned");
  if (src_bytes < 0 || src_bytes > 16) simt::Fail(l, "cp.async: src_bytes %d", src_bytes);
  if (!simt::InSmem(dst, 16)) simt::Fail(l, "cp.async: destination is not shared memory");
  auto* d = static_cast<volatile uint8_t*>(dst);
  auto* s = static_cast<const volatile uint8_t*>(src);
  for (int i = 0; i < src_bytes; ++i) (void)s[i];  // checked here, so a sanitizer names this line
  for (int i = 0; i < 16; ++i) d[i] = 0xFF;        // what is there until the copy lands: poison
  simt::CpPush({dst, src, src_bytes});
  if (simt::CpEager())
    for (int i = 0; i < 16; ++i) d[i] = i < src_bytes ? s[i] : 0;
}
inline void CpAsyncCommit() { simt::CpCommit(); }
template <int N>
void CpAsyncWait() {
  simt::CpOp* p;
  const int n = simt::CpWait(N, &p);
  for (int i = 0; i < n; ++i) {
    auto* d = static_cast<volatile uint8_t*>(p[i].dst);
    auto* s = static_cast<const volatile uint8_t*>(p[i].src);
    for (int b = 0; b < 16; ++b) d[b] = b < p[i].n ? s[b] : 0;
  }
}
namespace simt {
template <bool kTrans>
void Ldsm4(uint32_t (&r)[4], const void* row, Loc l) {
  if (reinterpret_cast<uintptr_t>(row) % 16) Fail(l, "ldmatrix: row address not 16-byte aligned");
  if (!InSmem(row, 16)) Fail(l, "ldmatrix: address is not shared memory");
  uint64_t a = reinterpret_cast<uint64_t>(row);
  uint32_t in[2] = {static_cast<uint32_t>(a), static_cast<uint32_t>(a >> 32)};
  uint32_t none[1];
  Collective(Op::kLdmatrix, ~0u, in, 2, none, 0, 4, l);
  int lane = Lane();
  for (int j = 0; j < 4; ++j) {
    uint32_t v = 0;
    for (int h = 0; h < 2; ++h) {
      int rr = kTrans ? (lane % 4) * 2 + h : lane / 4, cc = kTrans ? lane / 4 : (lane % 4) * 2 + h;
      auto* src = static_cast<const uint16_t*>(LdsmRow(j * 8 + rr));
      v |= static_cast<uint32_t>(src[cc]) << (16 * h);
    }
    r[j] = v;
  }
}
}  // namespace simt
inline void Ldmatrix4(uint32_t (&r)[4], const void* row, SIMT_L) { simt::Ldsm4<false>(r, row, l); }
inline void Ldmatrix4Trans(uint32_t (&r)[4], const void* row, SIMT_L) {
  simt::Ldsm4<true>(r, row, l);
}
inline void MmaBf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, SIMT_L) {
  uint32_t in[6] = {a[0], a[1], a[2], a[3], b0, b1}, out[4];
  simt::Collective(simt::Op::kMmaBf16, ~0u, in, 6, out, 4, 0, l);
  for (int i = 0; i < 4; ++i) d[i] += std::bit_cast<float>(out[i]);
}
inline float Exp2(float x) { return std::exp2(x); }
inline void NamedBarrier(int id, int n, SIMT_L) { simt::BarrierSync(id, n, l); }
#endif
