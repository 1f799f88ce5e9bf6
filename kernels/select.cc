#include <algorithm>
#include <string>
#include <thread>

#include "kernels/cpu/tiers.h"
#include "kernels/kv_self_test.h"
#include "kernels/ops.h"
#include "kernels/self_test.h"
#include "runtime/cpu.h"
#include "runtime/log.h"

namespace lynx {
namespace {

// The tiers that gave the scalar tier's bits, slowest first.
std::vector<const Kernels*> TestTiers() {
  const Kernels& scalar = ScalarKernels();
  std::vector<const Kernels*> good;
  for (const Kernels* tier : AvailableKernels()) {
    std::string_view wrong = tier == &scalar ? "" : FirstLinearMismatch(*tier, scalar);
    if (tier != &scalar && wrong.empty()) wrong = FirstKvMismatch(*tier, scalar);
    if (wrong.empty()) {
      good.push_back(tier);
    } else {
      spdlog::error("event=kernels_rejected tier={} operation={}", tier->name, wrong);
    }
  }
  return good;
}

// The test needs the exact float mode, which the caller's thread may not have: it runs on a thread
// of its own.
const std::vector<const Kernels*>& TestedTiers() {
  static const std::vector<const Kernels*> tiers = [] {
    std::vector<const Kernels*> good;
    std::thread tester([&] {
      SetExactFloatMode();
      good = TestTiers();
    });
    tester.join();
    return good;
  }();
  return tiers;
}

}  // namespace

std::vector<const Kernels*> AvailableKernels() {
  const CpuFeatures& cpu = DetectCpu();
  std::vector<const Kernels*> tiers = {&ScalarKernels()};
  if (cpu.avx2) tiers.push_back(&Avx2Kernels());
  if (cpu.avx512) tiers.push_back(&Avx512Kernels());
  if (cpu.avx512_bf16) tiers.push_back(&Avx512Bf16Kernels());
  return tiers;
}

const Kernels* SelectKernels(std::string_view wanted) {
  const std::vector<const Kernels*>& tiers = TestedTiers();
  if (wanted.empty()) return tiers.back();
  auto named = std::find_if(tiers.begin(), tiers.end(),
                            [&](const Kernels* tier) { return tier->name == wanted; });
  return named == tiers.end() ? nullptr : *named;
}

}  // namespace lynx
