#include "model/sampling_math.h"

#include <cstring>

#include "runtime/cpu.h"

namespace lynx {
namespace {

using Double4 = double __attribute__((vector_size(32)));
using Bits4 = uint64_t __attribute__((vector_size(32)));

// Lane by lane; the same operations whichever registers the compiler takes for them.
struct Lanes4Ops {
  using Double = Double4;
  using Bits = Bits4;
  __attribute__((always_inline)) static Bits4 ToBits(Double4 x) { return (Bits4)x; }
  __attribute__((always_inline)) static Double4 FromBits(Bits4 bits) { return (Double4)bits; }
  __attribute__((always_inline)) static Bits4 AtLeast(Double4 x, double floor) {
    return (Bits4)(x >= floor);
  }
};

__attribute__((always_inline)) inline void ExpSpan(double* x, size_t n) {
  size_t i = 0;
  for (; i + 4 <= n; i += 4) {
    Double4 v;
    std::memcpy(&v, x + i, sizeof(v));
    v = ExpNonPositiveOf<Lanes4Ops>(v);
    std::memcpy(x + i, &v, sizeof(v));
  }
  if (i == n) return;
  Double4 v = {};
  std::memcpy(&v, x + i, (n - i) * sizeof(double));
  v = ExpNonPositiveOf<Lanes4Ops>(v);
  std::memcpy(x + i, &v, (n - i) * sizeof(double));
}

void ExpSpanBaseline(double* x, size_t n) { ExpSpan(x, n); }
__attribute__((target("avx2"))) void ExpSpanAvx2(double* x, size_t n) { ExpSpan(x, n); }

}  // namespace

void ExpNonPositive(std::span<double> x) {
  if (DetectCpu().avx2) return ExpSpanAvx2(x.data(), x.size());
  ExpSpanBaseline(x.data(), x.size());
}

}  // namespace lynx
