// Linear layers, whatever they run on, and the check that refuses unstable products.
#include "kernels/cuda/linear.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "kernels/cuda/gemm.h"
#include "kernels/cuda/linear_check.h"
#include "tests/cuda/linear_fixture.h"

namespace lynx::cuda {
namespace {

using testing::LinearFixture;

constexpr LinearPhase kPhases[] = {LinearPhase::kDecode, LinearPhase::kPrefill};

std::unique_ptr<LinearPlans> Plans(bool decode, bool prefill) {
  auto plans = LinearPlans::Create(
      {.cublaslt_in_decode = decode, .cublaslt_in_prefill = prefill, .prefill_rows = 96});
  INFO(plans.status());
  REQUIRE(plans.ok());
  return *std::move(plans);
}

TEST_CASE("a linear layer is right on each product, and a row's bits are its own") {
  for (const bool cublaslt : {false, true}) {
    for (const int64_t n : {40, 37}) {
      const LinearFixture fixture(n, 144);
      auto plans = Plans(cublaslt, cublaslt);
      for (const bool bias : {false, true}) {
        auto linear = plans->Add(fixture.Weight(bias), nullptr);
        INFO(linear.status() << " cublaslt=" << cublaslt << " n=" << n << " bias=" << bias);
        REQUIRE(linear.ok());
        CHECK(linear->n() == n);
        CHECK(linear->k() == 144);
        for (const LinearPhase phase : kPhases) {
          const std::vector<float> all = fixture.Run(*linear, phase, 0, 96);
          CHECK(fixture.WorstError(all, 96, bias, 0.0f) <= 1.0);
          CHECK(fixture.WorstError(fixture.Run(*linear, phase, 0, 19, true), 19, bias, 0.5f) <=
                1.0);
          for (const auto& [begin, m] : {std::pair{3, 1}, {17, 2}, {91, 5}, {64, 16}, {20, 65}}) {
            const std::vector<float> some = fixture.Run(*linear, phase, begin, m);
            CHECK(testing::SameBits(some.data(), all.data() + begin * n, m * n));
          }
        }
      }
    }
  }
}

TEST_CASE("the identity names every shape once, and what it runs on") {
  const LinearFixture fixture(40, 96), odd(37, 96);
  auto own = Plans(false, false);
  REQUIRE(own->Add(fixture.Weight(true), nullptr).ok());
  REQUIRE(own->Add(fixture.Weight(true), nullptr).ok());
  REQUIRE(own->Add(odd.Weight(false), nullptr).ok());
  CHECK(own->Identity() == "37x96:own1/own1,40x96b:own1/own1");

  auto both = Plans(false, true);
  REQUIRE(both->Add(odd.Weight(false), nullptr).ok());
  // Rows of 37 floats do not lie on 16 bytes: nothing for cuBLASLt.
  CHECK(both->Identity().find("cublaslt") == 0);
  CHECK(both->Identity().find(",37x96:own1/own1") != std::string::npos);
}

TEST_CASE("weights that no kernel takes are refused") {
  const LinearFixture fixture(40, 96);
  auto plans = Plans(false, false);
  const auto code = [&](auto change) {
    LinearWeight weight = fixture.Weight(true);
    change(weight);
    return plans->Add(weight, nullptr).status().code();
  };
  CHECK(code([](LinearWeight& w) { w.k = 88; }) == absl::StatusCode::kInvalidArgument);
  CHECK(code([](LinearWeight& w) { w.n = 0; }) == absl::StatusCode::kInvalidArgument);
  CHECK(code([](LinearWeight& w) { ++w.w; }) == absl::StatusCode::kInvalidArgument);
  CHECK(code([](LinearWeight& w) { ++w.bias; }) == absl::StatusCode::kInvalidArgument);
  CHECK(code([](LinearWeight& w) { w.w = nullptr; }) == absl::StatusCode::kInvalidArgument);
  CHECK(LinearPlans::Create({.prefill_rows = 0}).status().code() ==
        absl::StatusCode::kInvalidArgument);

  auto linear = plans->Add(fixture.Weight(true), nullptr);
  REQUIRE(linear.ok());
  CHECK(linear->Run(LinearPhase::kDecode, {.lda = 96, .ldc = 39, .m = 1}, nullptr).code() ==
        absl::StatusCode::kInternal);
  CHECK(linear->Run(LinearPhase::kDecode, {.lda = 96, .ldc = 40}, nullptr).ok());
}

// Rows [begin, m) of a product, summed in another order: the first half of k, then the second.
absl::Status RunInHalves(const LinearFixture& fixture, const LinearArgs& args, int64_t begin) {
  const int64_t half = fixture.k / 2;
  for (const int64_t at : {int64_t{0}, half}) {
    // The halves of w must lie without gaps: one row of w at a time.
    for (int64_t j = 0; j < fixture.n; ++j) {
      const cudaError_t error = Gemm({.a = args.a + begin * args.lda + at,
                                      .lda = args.lda,
                                      .w = fixture.device_w.data() + j * fixture.k + at,
                                      .c = args.c + begin * args.ldc + j,
                                      .ldc = args.ldc,
                                      .accumulate = at > 0,
                                      .m = args.m - begin,
                                      .n = 1,
                                      .k = half},
                                     nullptr);
      if (error != cudaSuccess) return absl::InternalError("half a product");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckWithFault(auto rows_before_fault) {
  const LinearFixture fixture(8, 256);
  auto plans = Plans(false, false);
  auto linear = plans->Add(fixture.Weight(false), nullptr);
  REQUIRE(linear.ok());
  return CheckStable(
      [&](const LinearArgs& args) -> absl::Status {
        RETURN_IF_ERROR(linear->Run(LinearPhase::kDecode, args, nullptr));
        const int64_t good = rows_before_fault(args.m);
        return good < args.m ? RunInHalves(fixture, args, good) : absl::OkStatus();
      },
      fixture.n, fixture.k, 130, DecodeBatches(), nullptr);
}

TEST_CASE("the check refuses a product whose bits follow the number of rows or their places") {
  CHECK(CheckWithFault([](int64_t m) { return m; }).ok());
  for (const int64_t bad : {1, 2, 5, 16, 65}) {
    const absl::Status status = CheckWithFault([&](int64_t m) { return m == bad ? 0 : m; });
    INFO(status);
    CHECK(absl::IsFailedPrecondition(status));
    CHECK(status.message().find("[8, 256]") != std::string_view::npos);
    CHECK(status.message().find(absl::StrCat(" of ", bad, " rows")) != std::string_view::npos);
  }
  // Only the last of 16 rows, only the second of two, only what lies behind the 128th.
  CHECK(absl::IsFailedPrecondition(CheckWithFault([](int64_t m) { return m == 16 ? 15 : m; })));
  CHECK(absl::IsFailedPrecondition(CheckWithFault([](int64_t m) { return m == 2 ? 1 : m; })));
  CHECK(absl::IsFailedPrecondition(
      CheckWithFault([](int64_t m) { return std::min<int64_t>(m, 128); })));
  const absl::Status broken =
      CheckStable([](const LinearArgs&) { return absl::UnimplementedError("not for these"); }, 8,
                  16, 130, DecodeBatches(), nullptr);
  CHECK(absl::IsUnimplemented(broken));
  CHECK(broken.message() == "the product with weights [8, 16] of 130 rows: not for these");
}

TEST_CASE("the check's batches") {
  std::vector<int64_t> sizes;
  for (const RowOrder& order : DecodeBatches()) {
    sizes.push_back(std::ssize(order));
    CHECK(std::all_of(order.begin(), order.end(), [](int64_t r) { return r >= 0 && r < 130; }));
  }
  for (const int64_t m : {1, 2, 5, 16, 65, 130}) {
    CHECK(std::count(sizes.begin(), sizes.end(), m) == 3);
  }
  for (const int64_t rows : {1, 2, 7, 8, 64, 65, 200, 512}) {
    INFO(rows);
    for (const RowOrder& order : PrefillBatches(rows)) {
      CHECK(!order.empty());
      CHECK(std::ssize(order) <= rows);
      CHECK(std::all_of(order.begin(), order.end(), [&](int64_t r) { return r >= 0 && r < rows; }));
    }
  }
}

}  // namespace
}  // namespace lynx::cuda
