// Every tier that this machine can run, AVX-512 ones in emulation too.
#pragma once

#include <vector>

#include "kernels/ops.h"

namespace lynx::testing {

// AvailableKernels(), scalar first, then the AVX-512 tiers' sources compiled over emulated
// intrinsics ("avx512 emulated", "avx512_bf16 emulated"): slow, but right wherever AVX2 is.
const std::vector<const Kernels*>& AllTiers();

}  // namespace lynx::testing
