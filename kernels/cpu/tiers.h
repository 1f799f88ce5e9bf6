// The table of each CPU tier. Which of them may run is select.cc's business: calling into a tier
// that the machine lacks is an illegal instruction.
#pragma once

#include "kernels/ops.h"

namespace lynx {

const Kernels& ScalarKernels();
const Kernels& Avx2Kernels();
const Kernels& Avx512Kernels();
const Kernels& Avx512Bf16Kernels();

}  // namespace lynx
