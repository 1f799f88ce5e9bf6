#include "tests/kernels/all_tiers.h"

#include "runtime/cpu.h"

namespace lynx {

// In emulated_avx512.cc and emulated_avx512_bf16.cc, which give the tiers' functions these names.
const Kernels& EmulatedAvx512Kernels();
const Kernels& EmulatedAvx512Bf16Kernels();

namespace testing {
namespace {

Kernels Renamed(Kernels kernels, std::string_view name) {
  kernels.name = name;
  return kernels;
}

}  // namespace

const std::vector<const Kernels*>& AllTiers() {
  static const std::vector<const Kernels*> tiers = [] {
    std::vector<const Kernels*> all = AvailableKernels();
    if (!DetectCpu().avx2) return all;
    static const Kernels avx512 = Renamed(EmulatedAvx512Kernels(), "avx512 emulated");
    static const Kernels bf16 = Renamed(EmulatedAvx512Bf16Kernels(), "avx512_bf16 emulated");
    all.insert(all.end(), {&avx512, &bf16});
    return all;
  }();
  return tiers;
}

}  // namespace testing
}  // namespace lynx
