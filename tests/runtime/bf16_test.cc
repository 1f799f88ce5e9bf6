#include "runtime/bf16.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <random>

namespace lynx {

TEST_CASE("every bf16 value survives the way to float and back") {
  for (uint32_t b = 0; b < 65536; ++b) {
    bf16 x{static_cast<uint16_t>(b)};
    float f = ToFloat(x);
    if (std::isnan(f)) {
      CHECK(std::isnan(ToFloat(ToBf16(f))));
    } else {
      CHECK(ToBf16(f) == x);
    }
  }
}

TEST_CASE("rounding is to nearest, ties to even") {
  std::mt19937 rng(1);
  for (int i = 0; i < 200000; ++i) {
    float f = std::bit_cast<float>(static_cast<uint32_t>(rng()));
    if (!std::isfinite(f)) continue;
    uint16_t low = static_cast<uint16_t>(std::bit_cast<uint32_t>(f) >> 16);
    float down = ToFloat({low});
    bf16 above{static_cast<uint16_t>(low + 1)};
    if (!std::isfinite(ToFloat(above))) continue;
    double to_down = std::fabs(static_cast<double>(f) - down);
    double to_up = std::fabs(static_cast<double>(ToFloat(above)) - f);
    bf16 want = to_down < to_up   ? bf16{low}
                : to_up < to_down ? above
                : (low & 1)       ? above
                                  : bf16{low};
    REQUIRE(ToBf16(f) == want);
  }
}

}  // namespace lynx
