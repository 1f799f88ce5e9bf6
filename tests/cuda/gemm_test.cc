// Our own product: right against double precision, and a row's bits are the same whichever kernel
// computes it, with which rows beside it and at which place.
#include "kernels/cuda/gemm.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

#include "kernels/cuda/gemm_kernels.h"
#include "tests/cuda/device_array.h"
#include "tests/cuda/schedules.h"
#include "tests/kernels/linear_oracle.h"

namespace lynx::cuda {
namespace {

using testing::DeviceArray;
using testing::ForEachSchedule;
using testing::OnDevice;
using testing::RandomBf16s;
using testing::RandomFloats;

using Product = cudaError_t (*)(const GemmParams& params, cudaStream_t stream);
struct NamedProduct {
  const char* name;
  Product run;
  int64_t rows_max;
};
constexpr NamedProduct kProducts[] = {{"few rows", GemmFewRows, kFewRows},
                                      {"tiles of 64", GemmTiles64, 1 << 20},
                                      {"tiles of 128", GemmTiles128, 1 << 20},
                                      {"chosen", Gemm, 1 << 20}};

// A product's inputs on the device; rows of `a` and `c` have gaps, which hold NaN.
struct Problem {
  int64_t m, n, k, lda, ldc;
  std::vector<bf16> a, w;
  std::vector<float> bias, old;
  DeviceArray<bf16> device_a, device_w;
  DeviceArray<float> device_bias;

  Problem(int64_t rows, int64_t columns, int64_t depth, uint32_t seed)
      : m(rows),
        n(columns),
        k(depth),
        lda(depth + 24),
        ldc(columns + 3),
        device_a(0),
        device_w(0),
        device_bias(0) {
    std::mt19937 rng(seed);
    a = RandomBf16s(m * lda, 1.0f, rng);
    for (int64_t i = 0; i < m; ++i) {
      std::fill_n(a.begin() + i * lda + k, lda - k, bf16{0xffff});
    }
    w = RandomBf16s(n * k, 0.1f, rng);
    bias = RandomFloats(n, 1.0f, rng);
    old = RandomFloats(m * ldc, 1.0f, rng);
    device_a = OnDevice(a);
    device_w = OnDevice(w);
    device_bias = OnDevice(bias);
  }

  GemmParams Params(float* c) const {
    return {.a = device_a.data(),
            .lda = lda,
            .w = device_w.data(),
            .c = c,
            .ldc = ldc,
            .m = m,
            .n = n,
            .k = k};
  }
};

// The products are exact. A step of 16 on tensor cores adds 17 numbers, which the device aligns to
// the largest and cuts off: at most 17 half units (of 24 bits) of what has been summed up so far.
// Then come 8 parts, bias and the old value.
double Tolerance(int64_t k) {
  const int64_t chunks = (k + 63) / 64, steps_of_part = (chunks + 7) / 8 * 4;
  return 0x1p-24 * static_cast<double>(17 * steps_of_part + 8 + 2);
}

// Largest error of c in units of the tolerance; the gaps between its rows must be as they were.
double WorstError(const Problem& problem, const std::vector<float>& c, bool bias, bool accumulate) {
  double worst = 0;
  bool gaps_whole = true;
  for (int64_t i = 0; i < problem.m; ++i) {
    for (int64_t j = 0; j < problem.n; ++j) {
      testing::ExactDot want = testing::DotInDouble(problem.a.data() + i * problem.lda,
                                                    problem.w.data() + j * problem.k, problem.k);
      const double added = (bias ? problem.bias[j] : 0.0f) +
                           double{accumulate ? problem.old[i * problem.ldc + j] : 0.0f};
      const double magnitude = want.magnitude + std::fabs(added) + 1e-30;
      const double error = std::fabs(c[i * problem.ldc + j] - (want.value + added));
      const double relative = error / (magnitude * Tolerance(problem.k));
      worst = std::max(worst, std::isnan(relative) ? HUGE_VAL : relative);
    }
    for (int64_t j = problem.n; j < problem.ldc; ++j) {
      const float was = problem.old[i * problem.ldc + j];
      gaps_whole &= testing::SameBits(&c[i * problem.ldc + j], &was, 1);
    }
  }
  CHECK(gaps_whole);
  return worst;
}

void CheckAgainstDouble(const NamedProduct& product, const Problem& problem, bool bias,
                        bool accumulate) {
  INFO(product.name << " m=" << problem.m << " n=" << problem.n << " k=" << problem.k
                    << " bias=" << bias << " accumulate=" << accumulate);
  std::vector<float> before = problem.old;
  if (!accumulate) {  // what is there must not matter
    for (int64_t i = 0; i < problem.m; ++i) {
      std::fill_n(before.begin() + i * problem.ldc, problem.n, std::nanf(""));
    }
  }
  const auto c = OnDevice(before);
  GemmParams params = problem.Params(c.data());
  if (bias) params.bias = problem.device_bias.data();
  params.accumulate = accumulate;
  REQUIRE(product.run(params, nullptr) == cudaSuccess);
  const double worst = WorstError(problem, c.Read(), bias, accumulate);
  CHECK(worst <= 1.0);
}

TEST_CASE("gemm is right for shapes that fit no tile") {
  struct Shape {
    int64_t m, n, k;
  };
  for (const Shape& s : {Shape{1, 1, 16},
                         {2, 17, 48},
                         {5, 33, 80},
                         {16, 31, 592},
                         {13, 100, 1040},
                         {17, 65, 208},
                         {65, 130, 144},
                         {130, 40, 576}}) {
    const Problem problem(s.m, s.n, s.k, static_cast<uint32_t>(s.m));
    for (const NamedProduct& product : kProducts) {
      if (s.m > product.rows_max) continue;
      CheckAgainstDouble(product, problem, false, false);
      CheckAgainstDouble(product, problem, true, true);
      if (s.m > 5) continue;
      CheckAgainstDouble(product, problem, true, false);
      CheckAgainstDouble(product, problem, false, true);
    }
  }
}

TEST_CASE("gemm takes 32 columns a block for wide weights") {
  const Problem problem(9, 4100, 32, 7);
  CheckAgainstDouble(kProducts[0], problem, true, true);
  CheckAgainstDouble({"one row", GemmFewRows, kFewRows}, Problem(1, 8195, 16, 8), false, false);
}

TEST_CASE("gemm under every schedule") {
  const Problem few(7, 50, 720, 9), many(67, 70, 464, 10);
  ForEachSchedule([&] {
    for (const NamedProduct& product : kProducts) {
      CheckAgainstDouble(product, few, true, true);
      if (product.rows_max >= 67) CheckAgainstDouble(product, many, true, true);
    }
  });
}

// c of `count` rows: rows order[0], order[1], ... of the problem's `a`.
std::vector<float> RowsOf(const NamedProduct& product, const Problem& problem,
                          const std::vector<int64_t>& order) {
  std::vector<bf16> a;
  for (int64_t row : order) {
    const auto from = problem.a.begin() + row * problem.lda;
    a.insert(a.end(), from, from + problem.lda);
  }
  const auto device_a = OnDevice(a);
  DeviceArray<float> c(std::ssize(order) * problem.n);
  GemmParams params = problem.Params(c.data());
  params.a = device_a.data();
  params.ldc = problem.n;
  params.m = std::ssize(order);
  REQUIRE(product.run(params, nullptr) == cudaSuccess);
  return c.Read();
}

TEST_CASE("a row's bits are its own") {
  std::mt19937 rng(11);
  for (const int64_t k : {48, 720}) {
    const Problem problem(130, 37, k, 12);
    std::vector<int64_t> all(130);
    std::iota(all.begin(), all.end(), 0);
    const std::vector<float> want = RowsOf({"", GemmTiles128, 0}, problem, all);
    for (const NamedProduct& product : kProducts) {
      for (const int64_t m : {1, 2, 5, 16, 65, 130}) {
        if (m > product.rows_max) continue;
        INFO(product.name << " k=" << k << " m=" << m);
        for (int round = 0; round < (m < 65 ? 4 : 1); ++round) {
          std::vector<int64_t> order = all;
          std::shuffle(order.begin(), order.end(), rng);
          order.resize(static_cast<size_t>(m));
          const std::vector<float> got = RowsOf(product, problem, order);
          int64_t different = 0;
          for (int64_t i = 0; i < m; ++i) {
            different +=
                !testing::SameBits(&got[i * problem.n], &want[order[i] * problem.n], problem.n);
          }
          CHECK(different == 0);
        }
      }
    }
  }
}

TEST_CASE("the order of summation is the documented one") {
  // 2^24 swallows a 1 that is added to it, so the result shows which elements share a part.
  constexpr int64_t k = 1024;  // 16 chunks: a part holds two
  std::vector<bf16> a(k, bf16{0}), w(k, ToBf16(1.0f));
  w[0] = a[0] = ToBf16(4096.0f);
  a[16] = a[64] = a[127] = ToBf16(1.0f);  // part 0, later steps: each lost
  a[128] = a[192] = ToBf16(1.0f);         // part 1: 2, not lost
  const auto device_a = OnDevice(a), device_w = OnDevice(w);
  for (const NamedProduct& product : kProducts) {
    INFO(product.name);
    DeviceArray<float> c(1);
    REQUIRE(product.run({.a = device_a.data(),
                         .lda = k,
                         .w = device_w.data(),
                         .c = c.data(),
                         .ldc = 1,
                         .m = 1,
                         .n = 1,
                         .k = k},
                        nullptr) == cudaSuccess);
    CHECK(c.Read()[0] == 16777218.0f);
  }
}

TEST_CASE("gemm refuses what it cannot read") {
  const Problem problem(2, 8, 32, 13);
  DeviceArray<float> c(2 * problem.ldc);
  const auto refuses = [&](auto change) {
    GemmParams params = problem.Params(c.data());
    change(params);
    return Gemm(params, nullptr) == cudaErrorInvalidValue;
  };
  CHECK(refuses([](GemmParams& p) { p.k = 24; }));
  CHECK(refuses([](GemmParams& p) { p.k = 0; }));
  CHECK(refuses([](GemmParams& p) { p.lda = 31; }));
  CHECK(refuses([](GemmParams& p) { p.lda = 36; }));
  CHECK(refuses([](GemmParams& p) { p.ldc = 7; }));
  CHECK(refuses([](GemmParams& p) { ++p.a; }));
  CHECK(refuses([](GemmParams& p) { ++p.w; }));
  CHECK(refuses([](GemmParams& p) { p.m = -1; }));
  CHECK(refuses([](GemmParams& p) { p.n = int64_t{1} << 40; }));
  CHECK(Gemm({.lda = 16, .k = 16}, nullptr) == cudaSuccess);
  const std::vector<float> untouched = c.Read();
  CHECK(std::all_of(untouched.begin(), untouched.end(), DeviceArray<float>::IsFill));
}

}  // namespace
}  // namespace lynx::cuda
