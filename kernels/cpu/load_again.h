#pragma once

namespace lynx {

// Memory has to be read again behind this. An inner loop whose accumulators fill the registers
// takes a vector that it needs twice from L1 twice: kept in a register, it would have the compiler
// spill an accumulator, whose way through memory then sets the loop's pace.
[[gnu::always_inline]] static inline void LoadAgain() { asm volatile("" ::: "memory"); }

}  // namespace lynx
