#define CATCH_CONFIG_EXTERNAL_INTERFACES
#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "runtime/cuda/cuda_status.h"
#include "tests/cuda/schedules.h"

namespace lynx::testing {
namespace {

// One line instead of a failure of every allocation.
struct GpuCheck : Catch::TestEventListenerBase {
  using TestEventListenerBase::TestEventListenerBase;
  void testRunStarting(const Catch::TestRunInfo&) override {
    int devices = 0;
    const absl::Status status = cuda::ToStatus(cudaGetDeviceCount(&devices), "no GPU can be used");
    if (status.ok()) return;
    std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
    std::_Exit(EXIT_FAILURE);
  }
};
CATCH_REGISTER_LISTENER(GpuCheck)

}  // namespace

void ForEachSchedule(const std::function<void()>& test) { test(); }

}  // namespace lynx::testing
