// The start-up check of a tier: does this machine, with this build of the tier, give the scalar
// tier's bits?
#pragma once

#include <string_view>

#include "kernels/ops.h"

namespace lynx {

// The name of the first operation around attention (gemm, norms, rotary embedding ...) that differs
// from `reference`; empty if none does.
std::string_view FirstLinearMismatch(const Kernels& tier, const Kernels& reference);

}  // namespace lynx
