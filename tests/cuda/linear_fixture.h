// A linear layer's weights on the device, and its products in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cuda/linear.h"
#include "tests/cuda/device_array.h"
#include "tests/kernels/linear_oracle.h"

namespace lynx::testing {

struct LinearFixture {
  int64_t n, k;
  std::vector<bf16> w, a;  // a: [130, k]
  std::vector<float> bias;
  DeviceArray<bf16> device_w, device_a;
  DeviceArray<float> device_bias;

  LinearFixture(int64_t columns, int64_t depth) : LinearFixture(columns, depth, std::mt19937(1)) {}

  cuda::LinearWeight Weight(bool with_bias) const {
    return {.w = device_w.data(), .bias = with_bias ? device_bias.data() : nullptr, .n = n, .k = k};
  }

  // Rows [begin, begin + m) of `a` through the layer, over a result that was `before` everywhere.
  std::vector<float> Run(const cuda::Linear& linear, cuda::LinearPhase phase, int64_t begin,
                         int64_t m, bool accumulate = false, float before = 0.5f) const {
    const auto c = OnDevice(std::vector<float>(static_cast<size_t>(m * n), before));
    const absl::Status status = linear.Run(phase,
                                           {.a = device_a.data() + begin * k,
                                            .lda = k,
                                            .c = c.data(),
                                            .ldc = n,
                                            .m = m,
                                            .accumulate = accumulate},
                                           nullptr);
    INFO(status);
    REQUIRE(status.ok());
    return c.Read();
  }

  // Largest error in units of what any order of summation may have: a rounding for each term and
  // for bias and old value.
  double WorstError(const std::vector<float>& c, int64_t m, bool with_bias, float old) const {
    double worst = 0;
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        const ExactDot dot = DotInDouble(a.data() + i * k, w.data() + j * k, k);
        const double more = (with_bias ? bias[static_cast<size_t>(j)] : 0.0f) + double{old};
        const double tolerance =
            0x1p-24 * static_cast<double>(k + 2) * (dot.magnitude + std::fabs(more) + 1e-30);
        const double error =
            std::fabs(c[static_cast<size_t>(i * n + j)] - (dot.value + more)) / tolerance;
        worst = std::max(worst, std::isnan(error) ? HUGE_VAL : error);
      }
    }
    return worst;
  }

 private:
  LinearFixture(int64_t columns, int64_t depth, std::mt19937 rng)
      : n(columns),
        k(depth),
        w(RandomBf16s(n * k, 0.1f, rng)),
        a(RandomBf16s(130 * k, 1.0f, rng)),
        bias(RandomFloats(n, 1.0f, rng)),
        device_w(OnDevice(w)),
        device_a(OnDevice(a)),
        device_bias(OnDevice(bias)) {}
};

}  // namespace lynx::testing
