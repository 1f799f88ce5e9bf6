// gemm: the same bits in every tier, for every number of rows and threads; right against double
// precision.
#include <catch2/catch.hpp>
#include <string>

#include "kernels/ops.h"
#include "kernels/pack.h"
#include "kernels/parallel.h"
#include "runtime/cpu.h"
#include "tests/kernels/all_tiers.h"
#include "tests/kernels/linear_oracle.h"

namespace lynx {
namespace {

using testing::AllTiers;
using testing::DotInDouble;
using testing::ExactDot;
using testing::Guarded;
using testing::RandomBf16s;
using testing::RandomFloats;
using testing::SameBits;

// A product's operands: weights both as they came and packed.
struct Problem {
  int64_t m, n, k, lda;
  std::vector<bf16> a, weights;
  std::vector<float> bias;
  HugePageArena memory;
  PackedWeights packed;
  PackedMatrix view;

  Problem(int64_t rows, int64_t outputs, int64_t inputs, uint32_t seed)
      : m(rows), n(outputs), k(inputs), lda(inputs + 3), packed(outputs, inputs, memory) {
    SetExactFloatMode();
    std::mt19937 rng(seed);
    a = RandomBf16s(m * lda, 1.0f, rng);
    // What lies between two rows must not be read into a sum.
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = k; j < lda; ++j) a[i * lda + j] = bf16{0x7fc0};
    }
    weights = RandomBf16s(n * k, 0.05f, rng);
    bias = RandomFloats(n, 1.0f, rng);
    packed.SetRows(0, n, weights.data());
    view = packed.view();
  }

  GemmArgs Args(float* c, int64_t ldc) const {
    return {.a = a.data(), .lda = lda, .w = &view, .c = c, .ldc = ldc, .m = m};
  }
  int64_t panels() const { return (n + kPanelColumns - 1) / kPanelColumns; }
};

std::vector<float> Product(const Kernels& kernels, const Problem& p) {
  std::vector<float> c(static_cast<size_t>(p.m * p.n));
  kernels.gemm(p.Args(c.data(), p.n), 0, p.panels());
  return c;
}

TEST_CASE("gemm equals naive double precision within the error of its chain") {
  // k roundings of at most eps / 2 of a partial sum, which no partial magnitude exceeds.
  const Problem p(7, 130, 333, 1);
  for (const Kernels* kernels : AllTiers()) {
    INFO(kernels->name);
    const std::vector<float> c = Product(*kernels, p);
    double worst = 0;
    for (int64_t i = 0; i < p.m; ++i) {
      for (int64_t j = 0; j < p.n; ++j) {
        const ExactDot exact = DotInDouble(&p.a[i * p.lda], &p.weights[j * p.k], p.k);
        const double bound =
            exact.magnitude * static_cast<double>(p.k) * std::numeric_limits<float>::epsilon() / 2;
        worst = std::max(worst, std::fabs(c[i * p.n + j] - exact.value) / bound);
      }
    }
    CHECK(worst < 1.0);
  }
}

TEST_CASE("gemm's chain is: odd member, then even member, of each pair in turn") {
  const Problem p(2, 3, 5, 2);
  for (const Kernels* kernels : AllTiers()) {
    INFO(kernels->name);
    const std::vector<float> c = Product(*kernels, p);
    for (int64_t i = 0; i < p.m; ++i) {
      for (int64_t j = 0; j < p.n; ++j) {
        float sum = 0;
        for (int64_t k : {1, 0, 3, 2, 4}) {
          sum = std::fma(ToFloat(p.a[i * p.lda + k]), ToFloat(p.weights[j * p.k + k]), sum);
        }
        CHECK(c[i * p.n + j] == sum);
      }
    }
  }
}

// Every tier against the scalar one, in a C with guards between and around the rows.
void CheckAgainstScalar(const Problem& p, bool bias, bool accumulate) {
  const int64_t ldc = p.n + 7;
  std::mt19937 rng(5);
  const std::vector<float> old = RandomFloats(p.m * p.n, 1.0f, rng);
  std::vector<float> want;
  for (const Kernels* kernels : AllTiers()) {
    Guarded<float> c((p.m - 1) * ldc + p.n);
    for (int64_t i = 0; i < p.m && accumulate; ++i) {
      std::memcpy(c.data() + i * ldc, &old[i * p.n], p.n * sizeof(float));
    }
    GemmArgs args = p.Args(c.data(), ldc);
    args.bias = bias ? p.bias.data() : nullptr;
    args.accumulate = accumulate;
    kernels->gemm(args, 0, p.panels());
    std::vector<float> got(static_cast<size_t>(p.m * p.n));
    bool gaps_intact = true;
    for (int64_t i = 0; i < p.m; ++i) {
      std::memcpy(&got[i * p.n], c.data() + i * ldc, p.n * sizeof(float));
      for (int64_t j = p.n; j < ldc && i + 1 < p.m; ++j) {
        gaps_intact &= Guarded<float>::IsFill(c.data()[i * ldc + j]);
      }
    }
    INFO(kernels->name << " m=" << p.m << " n=" << p.n << " k=" << p.k);
    CHECK(c.intact());
    CHECK(gaps_intact);
    if (want.empty()) want = got;
    CHECK(SameBits(got.data(), want.data(), p.m * p.n));
  }
}

TEST_CASE("every tier has the scalar tier's bits, for odd sizes") {
  for (int64_t m : {1, 2, 3, 4, 5, 6, 7, 12, 13, 25}) {
    for (int64_t n : {1, 15, 16, 63, 64, 65, 200}) {
      for (int64_t k : {1, 2, 17, 64, 255}) CheckAgainstScalar(Problem(m, n, k, 3), true, false);
    }
  }
}

TEST_CASE("chunks of k and blocks of rows change nothing") {
  // Beyond one chunk (256), beyond one block of rows (96), with and without bias and accumulation.
  for (bool bias : {false, true}) {
    for (bool accumulate : {false, true}) {
      CheckAgainstScalar(Problem(1, 70, 1031, 4), bias, accumulate);
      CheckAgainstScalar(Problem(4, 70, 1031, 4), bias, accumulate);
      CheckAgainstScalar(Problem(27, 70, 515, 4), bias, accumulate);
      CheckAgainstScalar(Problem(101, 33, 515, 4), bias, accumulate);
    }
  }
}

TEST_CASE("a row alone has the bits it has in any batch") {
  const Problem all(512, 136, 577, 6);
  for (const Kernels* kernels : AllTiers()) {
    if (kernels->name == "scalar") continue;  // row by row by construction, and slow
    INFO(kernels->name);
    const std::vector<float> want = Product(*kernels, all);
    for (int64_t m : {1, 2, 3, 4, 5, 7, 8, 12, 13, 16, 17, 33, 64, 65, 128, 512}) {
      // The batch's last m rows, so that each row stands at another place in it.
      const int64_t first = all.m - m;
      std::vector<float> c(static_cast<size_t>(m * all.n));
      GemmArgs args = all.Args(c.data(), all.n);
      args.a += first * all.lda;
      args.m = m;
      kernels->gemm(args, 0, all.panels());
      INFO("m=" << m);
      CHECK(SameBits(c.data(), &want[first * all.n], m * all.n));
    }
  }
}

TEST_CASE("a range of panels writes its own columns only") {
  const Problem p(5, 200, 40, 7);
  for (const Kernels* kernels : AllTiers()) {
    INFO(kernels->name);
    const std::vector<float> want = Product(*kernels, p);
    Guarded<float> c(p.m * p.n);
    kernels->gemm(p.Args(c.data(), p.n), 1, 3);
    bool inside = true, outside = true;
    for (int64_t i = 0; i < p.m; ++i) {
      for (int64_t j = 0; j < p.n; ++j) {
        const float got = c.data()[i * p.n + j];
        if (j >= 64 && j < 192) {
          inside &= SameBits(&got, &want[i * p.n + j], 1);
        } else {
          outside &= Guarded<float>::IsFill(got);
        }
      }
    }
    CHECK(inside);
    CHECK(outside);
    CHECK(c.intact());
  }
}

TEST_CASE("threads change nothing") {
  const Kernels& kernels = *AvailableKernels().back();
  for (auto [m, n] : {std::pair<int64_t, int64_t>{1, 64}, {1, 1000}, {250, 64}, {250, 300}}) {
    const Problem p(m, n, 129, 8);
    const std::vector<float> want = Product(kernels, p);
    for (int threads : {1, 2, 3}) {
      ThreadPool pool(threads);
      Guarded<float> c(p.m * p.n);
      Gemm(kernels, pool, p.Args(c.data(), p.n));
      INFO("threads=" << threads << " m=" << m << " n=" << n);
      CHECK(SameBits(c.data(), want.data(), p.m * p.n));
      CHECK(c.intact());
    }
  }
}

TEST_CASE("denormal inputs count as zero and denormal sums are flushed, in every tier") {
  SetExactFloatMode();
  std::vector<bf16> a(8, bf16{0x0040});  // denormal
  a[2] = ToBf16(0x1p-70f);
  HugePageArena memory;
  PackedWeights packed(4, 8, memory);
  std::vector<bf16> w(32, ToBf16(1.0f));
  w[2] = ToBf16(0x1p-60f);  // the product is below the smallest normal number
  packed.SetRows(0, 4, w.data());
  const PackedMatrix view = packed.view();
  for (const Kernels* kernels : AllTiers()) {
    INFO(kernels->name);
    float c[4];
    kernels->gemm({.a = a.data(), .lda = 8, .w = &view, .c = c, .ldc = 4, .m = 1}, 0, 1);
    CHECK(c[0] == 0.0f);
    CHECK(c[1] == 0x1p-70f);
  }
}

TEST_CASE("weights packed in pieces and stacked equal weights packed at once") {
  std::mt19937 rng(9);
  const int64_t n = 150, k = 21;
  const std::vector<bf16> w = RandomBf16s(n * k, 1.0f, rng);
  HugePageArena memory;
  PackedWeights whole(n, k, memory), pieces(n, k, memory);
  whole.SetRows(0, n, w.data());
  for (int64_t begin : {90, 0, 37}) {
    const int64_t end = begin == 90 ? n : begin == 0 ? 37 : 90;
    pieces.SetRows(begin, end - begin, &w[begin * k]);
  }
  CHECK(SameBits(whole.view().data, pieces.view().data, whole.bytes() / 2));
  // [n/64][k/2][64][2], the last k and the last columns padded with zero.
  CHECK(whole.bytes() == 3 * 11 * 64 * 2 * 2);
  CHECK(whole.view().data[((1 * 11 + 4) * 64 + 5) * 2 + 1] == w[(64 + 5) * k + 9]);
  CHECK(whole.view().data[(10 * 64 + 0) * 2 + 1] == bf16{0});
  CHECK(whole.view().data[((2 * 11 + 0) * 64 + 30) * 2] == bf16{0});
  for (int64_t row = 0; row < n; ++row) {
    std::vector<bf16> unpacked(k);
    whole.GetRow(row, unpacked.data());
    CHECK(SameBits(unpacked.data(), &w[row * k], k));
  }
}

}  // namespace
}  // namespace lynx
