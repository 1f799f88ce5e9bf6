#include <catch2/catch.hpp>

#include "kernels/cuda/silu_mul.h"
#include "runtime/cuda/cuda_buffer.h"

namespace lynx::cuda {
TEST_CASE("silu_mul") {
  auto in = *DeviceBuffer<float>::Create(2 * 300 * 3);
  auto out = *DeviceBuffer<bf16>::Create(300 * 3);
  REQUIRE(SiluMul({.gate_up = in.data(), .out = out.data(), .rows = 3, .columns = 300}, nullptr) ==
          cudaSuccess);
  REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
}
}  // namespace lynx::cuda
