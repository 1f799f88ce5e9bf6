// What the processor can do, and the floating-point mode that exact arithmetic needs.
#pragma once

namespace lynx {

struct CpuFeatures {
  bool avx2 = false;         // AVX2 and FMA
  bool avx512 = false;       // F, BW, VL, DQ
  bool avx512_bf16 = false;  // vdpbf16ps
};

// Reads CPUID once; includes the operating system's support for the registers.
const CpuFeatures& DetectCpu();

// Flush-to-zero and denormals-are-zero for the calling thread. Every thread that computes calls it
// first: vdpbf16ps flushes denormals whatever the mode, so the other tiers must too
// (docs/exactness.md).
void SetExactFloatMode();

}  // namespace lynx
