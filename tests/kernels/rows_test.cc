// The row operations: the same bits in every tier, right against double precision.
#include <algorithm>
#include <catch2/catch.hpp>

#include "kernels/linear_inl.h"
#include "kernels/ops.h"
#include "runtime/cpu.h"
#include "tests/kernels/all_tiers.h"
#include "tests/kernels/linear_oracle.h"

namespace lynx {
namespace {

using testing::AllTiers;
using testing::Guarded;
using testing::RandomBf16s;
using testing::RandomFloats;
using testing::SameBits;

constexpr int64_t kSizes[] = {1, 2, 7, 15, 16, 17, 31, 32, 48, 63, 64, 100, 576, 1537};
// Half a unit in BF16's last place, plus what the float arithmetic before it may add.
constexpr double kBf16Error = 0x1p-8 * 1.01;

bool Near(bf16 got, double want, double scale) {
  return std::fabs(ToFloat(got) - want) <= kBf16Error * std::fabs(want) + 1e-6 * scale;
}

// Runs `op(kernels, out)` in each tier and compares everything with the scalar tier's bits.
template <typename T, typename Op>
std::vector<T> SameInAllTiers(int64_t n, Op op) {
  SetExactFloatMode();
  std::vector<T> want;
  for (const Kernels* kernels : AllTiers()) {
    INFO(kernels->name << " n=" << n);
    Guarded<T> out(n);
    op(*kernels, out.data());
    CHECK(out.intact());
    if (want.empty()) want.assign(out.data(), out.data() + n);
    CHECK(SameBits(want.data(), out.data(), n));
  }
  return want;
}

TEST_CASE("rms_norm") {
  std::mt19937 rng(1);
  for (int64_t n : kSizes) {
    const std::vector<float> x = RandomFloats(n, 3.0f, rng), weight = RandomFloats(n, 1.0f, rng);
    const std::vector<bf16> got = SameInAllTiers<bf16>(n, [&](const Kernels& k, bf16* out) {
      k.rms_norm(x.data(), weight.data(), 1e-5f, n, out);
    });
    double squares = 0;
    for (float v : x) squares += static_cast<double>(v) * v;
    const double inverse = 1 / std::sqrt(squares / n + 1e-5);
    bool near = true;
    for (int64_t i = 0; i < n; ++i) near &= Near(got[i], x[i] * inverse * weight[i], 1.0);
    CHECK(near);
  }
}

TEST_CASE("rms_norm sums by virtual lanes, whatever the registers") {
  // 2^24 swallows a 1 that is added to it, so the result shows which elements share a lane.
  SetExactFloatMode();
  std::vector<float> x(32, 0.0f);
  x[0] = 4096.0f;               // squared: 2^24, lane 0
  x[16] = x[1] = x[17] = 1.0f;  // lane 0 (lost), lane 1 (two in all: not lost)
  CHECK(SumOfSquares(x.data(), 32) == 16777218.0f);
}

TEST_CASE("silu_mul and gelu_mul") {
  std::mt19937 rng(2);
  for (int64_t n : kSizes) {
    std::vector<float> gate = RandomFloats(n, 4.0f, rng), up = RandomFloats(n, 1.0f, rng);
    const float edges[] = {0.0f, -0.0f, 100.0f, -100.0f, 88.5f, -88.5f, -1e20f};
    if (n >= 48) std::copy(std::begin(edges), std::end(edges), gate.begin() + 9);
    const std::vector<bf16> silu = SameInAllTiers<bf16>(
        n, [&](const Kernels& k, bf16* out) { k.silu_mul(gate.data(), up.data(), n, out); });
    const std::vector<bf16> gelu = SameInAllTiers<bf16>(
        n, [&](const Kernels& k, bf16* out) { k.gelu_mul(gate.data(), up.data(), n, out); });
    bool near = true;
    for (int64_t i = 0; i < n; ++i) {
      const double g = gate[i], u = up[i];
      near &= Near(silu[i], g / (1 + std::exp(-g)) * u, std::fabs(u));
      const double inner = std::sqrt(2 / M_PI) * (g + 0.044715 * g * g * g);
      // The tail of GELU is a difference of nearly equal numbers here: an absolute error of that
      // size.
      near &= Near(gelu[i], 0.5 * g * (1 + std::tanh(inner)) * u, std::fabs(u));
    }
    CHECK(near);
  }
}

TEST_CASE("rope rotates the halves as pairs") {
  std::mt19937 rng(3);
  const int64_t heads = 3;
  for (int64_t head_dim : {2, 8, 30, 32, 64, 96, 128, 256}) {
    std::vector<float> cos_sin(static_cast<size_t>(head_dim));
    for (int64_t i = 0; i < head_dim / 2; ++i) {
      const SinCosResult r = SinCos(0.1 + i);
      cos_sin[i] = static_cast<float>(r.cos);
      cos_sin[head_dim / 2 + i] = static_cast<float>(r.sin);
    }
    const std::vector<float> x = RandomFloats(heads * head_dim, 2.0f, rng);
    const std::vector<float> got =
        SameInAllTiers<float>(heads * head_dim, [&](const Kernels& k, float* out) {
          std::copy(x.begin(), x.end(), out);
          k.rope(out, heads, head_dim, cos_sin.data());
        });
    double worst = 0;
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t i = 0; i < head_dim / 2; ++i) {
        const int64_t j = h * head_dim + i, k = j + head_dim / 2;
        const double c = std::cos(0.1 + i), s = std::sin(0.1 + i);
        const double scale = std::fabs(x[j]) + std::fabs(x[k]);
        worst = std::max(worst, std::fabs(got[j] - (x[j] * c - x[k] * s)) / scale);
        worst = std::max(worst, std::fabs(got[k] - (x[k] * c + x[j] * s)) / scale);
      }
    }
    // Two products of rounded factors and a sum: at most four half units.
    CHECK(worst < 2 * std::numeric_limits<float>::epsilon());
  }
}

TEST_CASE("widen is exact for all 65,536 values") {
  std::vector<bf16> all(65536);
  for (int i = 0; i < 65536; ++i) all[i] = bf16{static_cast<uint16_t>(i)};
  const std::vector<float> got = SameInAllTiers<float>(
      65536, [&](const Kernels& k, float* out) { k.widen(all.data(), 65536, out); });
  bool exact = true;
  for (int i = 0; i < 65536; ++i) {
    exact &= std::bit_cast<uint32_t>(got[i]) == static_cast<uint32_t>(i) << 16;
  }
  CHECK(exact);
  std::mt19937 rng(4);
  for (int64_t n : kSizes) {
    const std::vector<bf16> row = RandomBf16s(n, 1.0f, rng);
    SameInAllTiers<float>(n, [&](const Kernels& k, float* out) { k.widen(row.data(), n, out); });
  }
}

TEST_CASE("argmax gives the lowest index among equals") {
  SetExactFloatMode();
  std::mt19937 rng(5);
  for (const Kernels* kernels : AllTiers()) {
    INFO(kernels->name);
    for (int64_t n : kSizes) {
      for (int round = 0; round < 20; ++round) {
        std::vector<float> x = RandomFloats(n, 1.0f, rng);
        for (float& v : x) v = std::nearbyint(v * 2);  // many ties
        const auto largest = std::max_element(x.begin(), x.end());
        CHECK(kernels->argmax(x.data(), n) == largest - x.begin());
      }
    }
    const float inf = std::numeric_limits<float>::infinity();
    std::vector<float> masked(40, -inf);
    CHECK(kernels->argmax(masked.data(), 40) == 0);
    masked[37] = -1e30f;
    CHECK(kernels->argmax(masked.data(), 40) == 37);
    std::vector<float> zeros(40, -0.0f);
    zeros[20] = 0.0f;
    CHECK(kernels->argmax(zeros.data(), 40) == 0);
  }
}

TEST_CASE("selection: the fastest tier by default, by name, or none") {
  const std::vector<const Kernels*> all = AvailableKernels();
  CHECK(all.front()->name == "scalar");
  // On a sound machine every tier passes its self-test.
  CHECK(SelectKernels() == all.back());
  for (const Kernels* kernels : all) CHECK(SelectKernels(kernels->name) == kernels);
  CHECK(SelectKernels("mmx") == nullptr);
}

}  // namespace
}  // namespace lynx
