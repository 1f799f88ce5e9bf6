// The emulated twins of kernels/cuda/ptx.cuh. Inline, so that what they read and write of memory is
// seen by the sanitizers and blamed on the kernel's line.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "api.h"

namespace simt {

constexpr int kCopyBytes = 16;

inline void LandCopy(const CpOp& op) {
  auto* dst = static_cast<volatile uint8_t*>(op.dst);
  const auto* src = static_cast<const volatile uint8_t*>(op.src);
  for (int i = 0; i < kCopyBytes; ++i) dst[i] = i < op.bytes ? src[i] : 0;
}

inline void CpAsync16(void* dst, const void* src, int src_bytes, Loc l) {
  if (reinterpret_cast<uintptr_t>(dst) % kCopyBytes != 0 ||
      reinterpret_cast<uintptr_t>(src) % kCopyBytes != 0) {
    Fail(l, "cp.async: an address is not aligned to 16 bytes");
  }
  if (src_bytes < 0 || src_bytes > kCopyBytes) Fail(l, "cp.async: src_bytes %d", src_bytes);
  if (!InSmem(dst, kCopyBytes)) Fail(l, "cp.async: the destination is not shared memory");
  // What is in neither place until the copy has landed. The source is read here too, so that a
  // sanitizer names the line that gave its address.
  auto* poisoned = static_cast<volatile uint8_t*>(dst);
  const auto* checked = static_cast<const volatile uint8_t*>(src);
  for (int i = 0; i < src_bytes; ++i) (void)checked[i];
  for (int i = 0; i < kCopyBytes; ++i) poisoned[i] = 0xff;
  const CpOp op = {dst, src, src_bytes};
  CpPush(op);
  if (!options().cp_defer)
    LandCopy(op);  // and not again at the wait: it may be overwritten by then
}

inline void CpAsyncWait(int pending) {
  CpOp* ops = nullptr;
  const int count = CpWait(pending, &ops);
  if (!options().cp_defer) return;
  for (int i = 0; i < count; ++i) LandCopy(ops[i]);
}

// The lanes give the addresses of four matrices' rows, 8 lanes each; each lane gets its fragment.
template <bool kTrans>
void Ldmatrix(uint32_t (&fragment)[4], const void* row, Loc l) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) {
    Fail(l, "ldmatrix: the row's address is not aligned to 16 bytes");
  }
  if (!InSmem(row, 16)) Fail(l, "ldmatrix: the address is not shared memory");
  const auto address = reinterpret_cast<uint64_t>(row);
  const uint32_t in[2] = {static_cast<uint32_t>(address), static_cast<uint32_t>(address >> 32)};
  Collective(Op::kLdmatrix, ~0u, in, 2, nullptr, 0, 4, l);
  const int lane = Lane();
  for (int matrix = 0; matrix < 4; ++matrix) {
    uint32_t pair = 0;
    for (int half = 0; half < 2; ++half) {
      const int major = lane / 4;
      const int minor = lane % 4 * 2 + half;
      const int r = kTrans ? minor : major;
      const int c = kTrans ? major : minor;
      const auto* elements = static_cast<const uint16_t*>(LdmatrixRow(matrix * 8 + r));
      pair |= uint32_t{elements[c]} << (16 * half);
    }
    fragment[matrix] = pair;
  }
}

inline void MmaBf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, Loc l) {
  const uint32_t in[6] = {a[0], a[1], a[2], a[3], b0, b1};
  uint32_t product[4];
  Collective(Op::kMmaBf16, ~0u, in, 6, product, 4, 0, l);
  for (int i = 0; i < 4; ++i) d[i] += std::bit_cast<float>(product[i]);
}

}  // namespace simt
