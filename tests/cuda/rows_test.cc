// The row operations. Where a value takes no sum over others, its bits are the scalar
// specification's (the CPU's); the norm's sum has an order of its own.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

#include "kernels/cuda/embed.h"
#include "kernels/cuda/gelu_mul.h"
#include "kernels/cuda/kv_layout_inl.h"
#include "kernels/cuda/rms_norm.h"
#include "kernels/cuda/rope.h"
#include "kernels/cuda/silu_mul.h"
#include "kernels/linear_inl.h"
#include "runtime/cpu.h"
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

bool SameBits(const auto& a, const auto& b) {
  return a.size() == b.size() && testing::SameBits(a.data(), b.data(), std::ssize(a));
}

TEST_CASE("embed widens the token's row") {
  std::mt19937 rng(1);
  const int64_t vocab = 11;
  for (const int64_t hidden : {1, 63, 576}) {
    const std::vector<bf16> table = RandomBf16s(vocab * hidden, 1.0f, rng);
    const std::vector<int32_t> tokens = {10, 0, 3, 3, 7};
    std::vector<float> want;
    for (int32_t token : tokens) {
      for (int64_t i = 0; i < hidden; ++i) want.push_back(ToFloat(table[token * hidden + i]));
    }
    const auto device_table = OnDevice(table);
    const auto device_tokens = OnDevice(tokens);
    ForEachSchedule([&] {
      DeviceArray<float> out(5 * hidden);
      REQUIRE(Embed({.table = device_table.data(),
                     .tokens = device_tokens.data(),
                     .out = out.data(),
                     .rows = 5,
                     .hidden = hidden},
                    nullptr) == cudaSuccess);
      CHECK(SameBits(out.Read(), want));
    });
  }
}

TEST_CASE("silu_mul and gelu_mul have the specification's bits") {
  SetExactFloatMode();
  std::mt19937 rng(2);
  const int64_t rows = 3;
  for (const int64_t columns : {1, 255, 300, 513}) {
    std::vector<float> gate_up = RandomFloats(rows * 2 * columns, 4.0f, rng);
    const float edges[] = {0.0f, -0.0f, 100.0f, -100.0f, 88.5f, -88.5f, -1e20f, 3e38f, 1e-39f};
    if (columns > 9) std::copy(std::begin(edges), std::end(edges), gate_up.begin());
    std::vector<bf16> silu, gelu;
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t i = 0; i < columns; ++i) {
        const float* gate = gate_up.data() + row * 2 * columns + i;
        silu.push_back(ToBf16(SiluMulOf<float>(gate[0], gate[columns])));
        gelu.push_back(ToBf16(GeluMulOf<float>(gate[0], gate[columns])));
      }
    }
    const auto in = OnDevice(gate_up);
    ForEachSchedule([&] {
      DeviceArray<bf16> silu_out(rows * columns), gelu_out(rows * columns);
      REQUIRE(
          SiluMul({.gate_up = in.data(), .out = silu_out.data(), .rows = rows, .columns = columns},
                  nullptr) == cudaSuccess);
      REQUIRE(
          GeluMul({.gate_up = in.data(), .out = gelu_out.data(), .rows = rows, .columns = columns},
                  nullptr) == cudaSuccess);
      CHECK(SameBits(silu_out.Read(), silu));
      CHECK(SameBits(gelu_out.Read(), gelu));
    });
  }
}

// In double, from what the kernel was given; x as it is after adding.
void CheckNorm(const std::vector<float>& x, const std::vector<float>& weight, float eps,
               const std::vector<bf16>& got) {
  const int64_t n = std::ssize(weight);
  double worst = 0;
  for (int64_t row = 0; row < std::ssize(x) / n; ++row) {
    double squares = 0;
    for (int64_t i = 0; i < n; ++i) squares += double{x[row * n + i]} * x[row * n + i];
    const double inverse = 1 / std::sqrt(squares / static_cast<double>(n) + eps);
    for (int64_t i = 0; i < n; ++i) {
      const double want = x[row * n + i] * inverse * weight[i];
      worst = std::max(worst, std::fabs(ToFloat(got[row * n + i]) - want) / std::fabs(want));
    }
  }
  // Half a unit in BF16's last place (2^-9 of the next power of two, up to 2^-8 of the value), and
  // of the arithmetic before it: a chain of n / 512 + 20 roundings, halved by the root, and five
  // more.
  const double arithmetic = 0x1p-24 * (static_cast<double>(n) / 1024 + 10 + 5);
  CHECK(worst <= 0x1p-8 + arithmetic);
}

RmsNormParams NormParams(const DeviceArray<float>& x, const DeviceArray<float>& weight,
                         const DeviceArray<bf16>& out, int64_t rows, int64_t hidden) {
  return {.x = x.data(),
          .weight = weight.data(),
          .out = out.data(),
          .rows = rows,
          .hidden = hidden,
          .eps = 1e-5f};
}

TEST_CASE("rms_norm is right, and a row's bits are its own") {
  SetExactFloatMode();
  std::mt19937 rng(3);
  const int64_t rows = 5;
  for (const int64_t hidden : {1, 31, 576, 1537}) {
    const std::vector<float> x = RandomFloats(rows * hidden, 3.0f, rng);
    const std::vector<float> weight = RandomFloats(hidden, 1.0f, rng);
    const auto device_x = OnDevice(x), device_weight = OnDevice(weight);
    std::vector<bf16> first;
    ForEachSchedule([&] {
      DeviceArray<bf16> out(rows * hidden);
      REQUIRE(RmsNorm(NormParams(device_x, device_weight, out, rows, hidden), nullptr) ==
              cudaSuccess);
      const std::vector<bf16> got = out.Read();
      CheckNorm(x, weight, 1e-5f, got);
      if (first.empty()) first = got;
      CHECK(SameBits(got, first));
      CHECK(SameBits(device_x.Read(), x));
    });
    const std::vector<int32_t> index = {4, 1, 1};
    const auto device_index = OnDevice(index);
    DeviceArray<bf16> out(3 * hidden);
    RmsNormParams params = NormParams(device_x, device_weight, out, 3, hidden);
    params.row_index = device_index.data();
    REQUIRE(RmsNorm(params, nullptr) == cudaSuccess);
    const std::vector<bf16> got = out.Read();
    for (int64_t i = 0; i < 3; ++i) {
      CHECK(testing::SameBits(got.data() + i * hidden, first.data() + index[i] * hidden, hidden));
    }
    params.delta = device_x.data();
    CHECK(RmsNorm(params, nullptr) == cudaErrorInvalidValue);
  }
}

TEST_CASE("rms_norm adds delta to x first") {
  SetExactFloatMode();
  std::mt19937 rng(4);
  const int64_t rows = 3, hidden = 700;
  const std::vector<float> x = RandomFloats(rows * hidden, 3.0f, rng);
  const std::vector<float> delta = RandomFloats(rows * hidden, 3.0f, rng);
  const std::vector<float> weight = RandomFloats(hidden, 1.0f, rng);
  std::vector<float> sum(x.size());
  std::transform(x.begin(), x.end(), delta.begin(), sum.begin(), std::plus<>());
  const auto device_delta = OnDevice(delta), device_weight = OnDevice(weight);
  ForEachSchedule([&] {
    const auto device_x = OnDevice(x);
    DeviceArray<bf16> out(rows * hidden);
    RmsNormParams params = NormParams(device_x, device_weight, out, rows, hidden);
    params.delta = device_delta.data();
    REQUIRE(RmsNorm(params, nullptr) == cudaSuccess);
    CHECK(SameBits(device_x.Read(), sum));
    CheckNorm(sum, weight, 1e-5f, out.Read());
  });
}

// Rows of a step, each with its own page.
struct RopeCase {
  int64_t rows, q_heads, kv_heads, head_dim;
  std::vector<float> qkv, cos_sin;
  std::vector<int32_t> token;

  RopeCase(int64_t r, int64_t q, int64_t kv, int64_t d, std::mt19937& rng)
      : rows(r), q_heads(q), kv_heads(kv), head_dim(d) {
    qkv = RandomFloats(rows * Heads() * head_dim, 2.0f, rng);
    for (int64_t row = 0; row < rows; ++row) {
      token.push_back(static_cast<int32_t>((row * 37 + 63) % kPageTokens));
      for (const bool sine : {false, true}) {
        for (int64_t i = 0; i < head_dim / 2; ++i) {
          const double angle = 0.1 + static_cast<double>(row * 5 + i);
          cos_sin.push_back(static_cast<float>(sine ? std::sin(angle) : std::cos(angle)));
        }
      }
    }
  }
  int64_t Heads() const { return q_heads + 2 * kv_heads; }
  KvShape Shape() const { return {static_cast<int>(kv_heads), static_cast<int>(head_dim)}; }
  int64_t PageElements() const { return 2 * kv_heads * kPageTokens * head_dim; }

  // [rows, Heads(), head_dim]: Q and K rotated by the specification.
  std::vector<float> Rotated() const {
    std::vector<float> out = qkv;
    const int64_t half = head_dim / 2;
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t head = 0; head < q_heads + kv_heads; ++head) {
        for (int64_t i = 0; i < half; ++i) {
          float* x = out.data() + (row * Heads() + head) * head_dim + i;
          const float* angle = cos_sin.data() + row * head_dim + i;
          RotatePair(x[0], x[half], angle[0], angle[half]);
        }
      }
    }
    return out;
  }
};

void CheckPages(const RopeCase& c, const std::vector<float>& rotated,
                const std::vector<bf16>& pages) {
  int64_t wrong = 0;
  std::vector<bf16> rest = pages;
  for (int64_t row = 0; row < c.rows; ++row) {
    for (int64_t head = 0; head < 2 * c.kv_heads; ++head) {
      const KvSide side = head < c.kv_heads ? KvSide::kKey : KvSide::kValue;
      for (int64_t i = 0; i < c.head_dim; ++i) {
        const size_t at =
            row * c.PageElements() + Bf16Index(c.Shape(), side, static_cast<int>(head % c.kv_heads),
                                               c.token[row], static_cast<int>(i));
        const float want = rotated[(row * c.Heads() + c.q_heads + head) * c.head_dim + i];
        wrong += pages[at] != ToBf16(want);
        rest[at] = bf16{0xffff};
      }
    }
  }
  CHECK(wrong == 0);
  CHECK(std::all_of(rest.begin(), rest.end(), DeviceArray<bf16>::IsFill));
}

TEST_CASE("rope_write_kv rotates Q and K and writes K and V into the rows' places") {
  SetExactFloatMode();
  std::mt19937 rng(5);
  for (const auto& [q_heads, kv_heads, head_dim] :
       {std::tuple{3, 1, 64}, {9, 3, 64}, {4, 2, 128}, {2, 1, 256}}) {
    const RopeCase c(3, q_heads, kv_heads, head_dim, rng);
    const std::vector<float> rotated = c.Rotated();
    const auto cos_sin = OnDevice(c.cos_sin);
    const int64_t layers = 3, layer = 1;
    ForEachSchedule([&] {
      DeviceArray<bf16> pages(c.rows * c.PageElements());
      // [layers, rows]: pages of other layers are nowhere.
      std::vector<PageRef> table(static_cast<size_t>(layers * c.rows));
      for (int64_t row = 0; row < c.rows; ++row) {
        table[layer * c.rows + row].data =
            reinterpret_cast<const std::byte*>(pages.data() + row * c.PageElements());
      }
      const auto device_table = OnDevice(table);
      std::vector<RowPlace> places;
      for (int64_t row = 0; row < c.rows; ++row) {
        places.push_back({.page = device_table.data() + row,
                          .layer_stride = c.rows,
                          .token_in_page = c.token[row]});
      }
      const auto device_places = OnDevice(places);
      const auto qkv = OnDevice(c.qkv);
      const int64_t q_size = c.q_heads * c.head_dim;
      DeviceArray<float> q(c.rows * q_size);
      RopeWriteKvParams params{.qkv = qkv.data(),
                               .cos_sin = cos_sin.data(),
                               .q = q.data(),
                               .q_stride = q_size,
                               .places = device_places.data(),
                               .layer = layer,
                               .rows = c.rows,
                               .q_heads = c.q_heads,
                               .kv_heads = c.kv_heads,
                               .head_dim = c.head_dim};
      REQUIRE(RopeWriteKv(params, nullptr) == cudaSuccess);
      std::vector<float> want;
      for (int64_t row = 0; row < c.rows; ++row) {
        const float* from = rotated.data() + row * c.Heads() * c.head_dim;
        want.insert(want.end(), from, from + q_size);
      }
      CHECK(SameBits(q.Read(), want));
      CheckPages(c, rotated, pages.Read());

      params.q = qkv.data();
      params.q_stride = c.Heads() * c.head_dim;
      REQUIRE(RopeWriteKv(params, nullptr) == cudaSuccess);
      std::vector<float> in_place = c.qkv;
      for (int64_t row = 0; row < c.rows; ++row) {
        std::copy_n(rotated.begin() + row * c.Heads() * c.head_dim, q_size,
                    in_place.begin() + row * c.Heads() * c.head_dim);
      }
      CHECK(SameBits(qkv.Read(), in_place));
      params.q_stride = q_size - 1;
      CHECK(RopeWriteKv(params, nullptr) == cudaErrorInvalidValue);
    });
  }
}

TEST_CASE("no rows, nothing to do") {
  CHECK(Embed({.hidden = 8}, nullptr) == cudaSuccess);
  CHECK(SiluMul({.columns = 8}, nullptr) == cudaSuccess);
  CHECK(GeluMul({.columns = 8}, nullptr) == cudaSuccess);
  CHECK(RmsNorm({.hidden = 8}, nullptr) == cudaSuccess);
  CHECK(RopeWriteKv({.q_stride = 8, .q_heads = 1, .kv_heads = 1, .head_dim = 8}, nullptr) ==
        cudaSuccess);
}

}  // namespace
}  // namespace lynx::cuda
