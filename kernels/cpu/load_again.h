#pragma once

namespace lynx {

// The same address, of which the compiler knows nothing. An inner loop whose accumulators fill the
// registers takes a vector that it needs twice from L1 twice: kept in a register, it would have the
// compiler spill an accumulator, whose way through memory then sets the loop's pace.
template <typename T>
[[gnu::always_inline]] static inline const T* LoadAgain(const T* p) {
  asm("" : "+r"(p));
  return p;
}

}  // namespace lynx
