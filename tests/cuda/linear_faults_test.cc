// How a plan is chosen when cuBLASLt's algorithms are not stable: with the emulated library, which
// can be told to be.
#include <catch2/catch.hpp>

#include "fake_cublaslt.h"
#include "kernels/cuda/linear.h"
#include "tests/cuda/linear_fixture.h"

namespace lynx::cuda {
namespace {

using simt::fake_cublaslt::Fault;
using testing::LinearFixture;

struct FaultyLibrary {
  explicit FaultyLibrary(std::map<int32_t, Fault> faults) {
    simt::fake_cublaslt::options() = {.faults = std::move(faults)};
  }
  ~FaultyLibrary() { simt::fake_cublaslt::options() = {}; }
};

// What a layer of weights [40, 96] runs on, as the identity has it: "decode/prefill".
std::string Chosen(const LinearPolicy& policy) {
  const LinearFixture fixture(40, 96);
  auto plans = LinearPlans::Create(policy);
  REQUIRE(plans.ok());
  auto linear = (*plans)->Add(fixture.Weight(true), nullptr);
  INFO(linear.status());
  REQUIRE(linear.ok());
  const std::string identity = (*plans)->Identity();
  return identity.substr(identity.find(':') + 1);
}

constexpr LinearPolicy kPrefill = {.prefill_rows = 96};
constexpr LinearPolicy kBoth = {.cublaslt_in_decode = true, .prefill_rows = 96};

TEST_CASE("the best stable algorithm is pinned") {
  auto& products = simt::fake_cublaslt::products();
  products.clear();
  CHECK(Chosen(kPrefill) == "own1/lt2.0.0.0.0.0.0");
  CHECK(Chosen(kBoth) == "lt2.0.0.0.0.0.0/lt2.0.0.0.0.0.0");
  CHECK(products[2] > 0);
  CHECK(products[1] + products[3] + products[4] == 0);
}

TEST_CASE("unstable algorithms are passed over, and our own product takes their place") {
  {
    const FaultyLibrary library({{2, Fault::kOrderFollowsRows}});
    CHECK(Chosen(kBoth) == "lt3.0.0.0.0.0.0/lt3.0.0.0.0.0.0");
  }
  {
    const FaultyLibrary library({{2, Fault::kOrderFollowsPlace}, {3, Fault::kRefusesFewRows}});
    CHECK(Chosen(kBoth) == "lt4.0.0.0.0.0.0/lt4.0.0.0.0.0.0");
  }
  const FaultyLibrary library(
      {{2, Fault::kOrderFollowsPlace}, {3, Fault::kOrderFollowsRows}, {4, Fault::kRefusesFewRows}});
  CHECK(Chosen(kBoth) == "own1/own1");
}

TEST_CASE("algorithms that split k or lack workspace are not even tried") {
  auto& products = simt::fake_cublaslt::products();
  for (const bool ignores : {false, true}) {
    const FaultyLibrary library({});
    simt::fake_cublaslt::options().ignores_preferences = ignores;
    products.clear();
    LinearPolicy policy = kBoth;
    policy.workspace_bytes = simt::fake_cublaslt::kWorkspaceBytes - 1;
    CHECK(Chosen(policy) == "lt3.0.0.0.0.0.0/lt3.0.0.0.0.0.0");
    CHECK(products[1] + products[2] == 0);
  }
}

TEST_CASE("errors of the library are reported") {
  {
    const FaultyLibrary library({});
    simt::fake_cublaslt::options().fails_to_start = true;
    CHECK(LinearPlans::Create(kPrefill).status().code() == absl::StatusCode::kFailedPrecondition);
    CHECK(LinearPlans::Create({.cublaslt_in_prefill = false}).ok());
  }
  const LinearFixture fixture(40, 96);
  auto plans = LinearPlans::Create(kPrefill);
  REQUIRE(plans.ok());
  auto linear = (*plans)->Add(fixture.Weight(false), nullptr);
  REQUIRE(linear.ok());
  testing::DeviceArray<float> c(2 * 44);
  const auto run = [&](int64_t shift, int64_t ldc) {
    return linear->Run(
        LinearPhase::kPrefill,
        {.a = fixture.device_a.data(), .lda = 96, .c = c.data() + shift, .ldc = ldc, .m = 2},
        nullptr);
  };
  CHECK(run(0, 44).ok());
  CHECK(absl::IsInvalidArgument(run(1, 40)));
  CHECK(absl::IsInvalidArgument(run(0, 41)));
  CHECK(absl::IsInvalidArgument(run(0, 36)));
  CHECK(linear->Run(LinearPhase::kPrefill, {.lda = 96, .ldc = 40}, nullptr).ok());
}

}  // namespace
}  // namespace lynx::cuda
