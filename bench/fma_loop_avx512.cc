#include "bench/fma_loop.h"
#include "bench/roofline.h"

namespace lynx::bench {

double FmaLoopAvx512(long rounds) { return FmaLoop(rounds); }

}  // namespace lynx::bench
