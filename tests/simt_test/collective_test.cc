#include <catch2/catch.hpp>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/ptx.cuh"
#include "tests/simt_test/device_values.h"

namespace lynx::testing {
namespace {

__global__ void Shuffles(const double* in, double* out) {
  const unsigned i = threadIdx.x;
  const double x = in[i];
  out[i] = __shfl_sync(~0u, x, 5);
  out[32 + i] = __shfl_xor_sync(~0u, x, 3);
  out[64 + i] = __shfl_down_sync(~0u, x, 4, 16);
  out[96 + i] = __shfl_up_sync(~0u, x, 1);
  out[128 + i] = __shfl_sync(~0u, x, 9, 8);
}

__global__ void Votes(unsigned* out) {
  const unsigned i = threadIdx.x;
  out[i] = __ballot_sync(~0u, i % 3 == 0);
  out[32 + i] = static_cast<unsigned>(__any_sync(~0u, i == 7));
  out[64 + i] = static_cast<unsigned>(__all_sync(~0u, i < 31));
  out[96 + i] = __match_any_sync(~0u, i % 5);
  int all = 0;
  out[128 + i] = __match_all_sync(~0u, 17, &all) + static_cast<unsigned>(all);
}

__global__ void Reductions(const int* in, int* out) {
  const unsigned i = threadIdx.x;
  const int x = in[i];
  const auto u = static_cast<unsigned>(x);
  out[i] = __reduce_add_sync(~0u, x);
  out[32 + i] = __reduce_min_sync(~0u, x);
  out[64 + i] = __reduce_max_sync(~0u, x);
  out[96 + i] = static_cast<int>(__reduce_min_sync(~0u, u));
  out[128 + i] = static_cast<int>(__reduce_max_sync(~0u, u));
  out[160 + i] = static_cast<int>(__reduce_and_sync(~0u, u));
  out[192 + i] = static_cast<int>(__reduce_or_sync(~0u, u));
  out[224 + i] = static_cast<int>(__reduce_xor_sync(~0u, u));
}

// Two groups of lanes at once.
__global__ void Groups(unsigned* out) {
  const unsigned i = threadIdx.x;
  const unsigned mask = i < 20 ? 0x000fffffu : 0xfff00000u;
  unsigned sum = 0;
  for (unsigned round = 0; round < (i < 20 ? 3u : 5u); ++round) {
    sum += __reduce_add_sync(mask, i + round);
  }
  out[i] = sum;
}

// [16, 16] * [16, 8]; b is stored [k][n] or, to be read transposed, [n][k].
__global__ void Product(const uint16_t* a, const uint16_t* b, float* d, int b_is_k_major) {
  SmemAlloc smem;
  uint16_t* sa = smem.Take<uint16_t>(16 * 24);
  uint16_t* sb = smem.Take<uint16_t>(16 * 24);
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 16 * 16; i += 32) {
    sa[i / 16 * 24 + i % 16] = a[i];
    sb[i / 16 * 24 + i % 16] = b[i];
  }
  __syncwarp();
  uint32_t fa[4];
  uint32_t fb[4];
  Ldmatrix4(fa, sa + lane % 16 * 24 + lane / 16 * 8);
  if (b_is_k_major != 0) {
    Ldmatrix4Trans(fb, sb + lane % 16 * 24 + lane / 16 * 8);
  } else {
    Ldmatrix4(fb, sb + (lane / 16 * 8 + lane % 8) * 24 + lane / 8 % 2 * 8);
  }
  for (int half = 0; half < 2; ++half) {
    float c[4] = {1, 1, 1, 1};
    MmaBf16(c, fa, fb[2 * half], fb[2 * half + 1]);
    for (int i = 0; i < 4; ++i) {
      d[(lane / 4 + i / 2 * 8) * 16 + half * 8 + lane % 4 * 2 + i % 2] = c[i];
    }
  }
}

template <class... P, class... A>
void RunWarp(void (*kernel)(P...), A... arguments) {
  for (uint64_t seed : {0, 1, 2}) {
    simt::options().seed = seed;
    REQUIRE(Launch("test", kernel, dim3(1), dim3(32), 4096, nullptr, arguments...) == cudaSuccess);
    REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  }
  simt::options().seed = 0;
}

float Bf16(uint16_t x) {
  const uint32_t bits = uint32_t{x} << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace

TEST_CASE("shuffles") {
  std::vector<double> in(32);
  for (size_t i = 0; i < 32; ++i) in[i] = 100.5 + static_cast<double>(i);
  DeviceValues<double> out(160);
  RunWarp(Shuffles, DeviceValues<double>(in).data(), out.data());
  const auto v = out.Read();
  for (size_t i = 0; i < 32; ++i) {
    CHECK(v[i] == in[5]);
    CHECK(v[32 + i] == in[i ^ 3]);
    CHECK(v[64 + i] == in[i % 16 < 12 ? i + 4 : i]);
    CHECK(v[96 + i] == in[i == 0 ? 0 : i - 1]);
    CHECK(v[128 + i] == in[i / 8 * 8 + 1]);
  }
}

TEST_CASE("votes and matches") {
  DeviceValues<unsigned> out(160);
  RunWarp(Votes, out.data());
  const auto v = out.Read();
  for (unsigned i = 0; i < 32; ++i) {
    CHECK(v[i] == 0x49249249u);
    CHECK(v[32 + i] == 1);
    CHECK(v[64 + i] == 0);
    unsigned same = 0;
    for (unsigned j = i % 5; j < 32; j += 5) same |= 1u << j;
    CHECK(v[96 + i] == same);
    CHECK(v[128 + i] == 0);  // all lanes, plus one
  }
}

TEST_CASE("reductions") {
  std::vector<int> in(32);
  std::mt19937 random(3);
  for (int& x : in) x = static_cast<int>(random());
  DeviceValues<int> out(256);
  RunWarp(Reductions, DeviceValues<int>(in).data(), out.data());
  const auto v = out.Read();
  unsigned sum = 0, all = ~0u, any = 0, odd = 0, least = ~0u, most = 0;
  for (int x : in) {
    const auto u = static_cast<unsigned>(x);
    sum += u, all &= u, any |= u, odd ^= u;
    least = std::min(least, u), most = std::max(most, u);
  }
  for (size_t i = 0; i < 32; ++i) {
    CHECK(v[i] == static_cast<int>(sum));
    CHECK(v[32 + i] == *std::min_element(in.begin(), in.end()));
    CHECK(v[64 + i] == *std::max_element(in.begin(), in.end()));
    CHECK(v[96 + i] == static_cast<int>(least));
    CHECK(v[128 + i] == static_cast<int>(most));
    CHECK(v[160 + i] == static_cast<int>(all));
    CHECK(v[192 + i] == static_cast<int>(any));
    CHECK(v[224 + i] == static_cast<int>(odd));
  }
}

TEST_CASE("disjoint groups of lanes meet independently") {
  DeviceValues<unsigned> out(32);
  RunWarp(Groups, out.data());
  const auto v = out.Read();
  for (unsigned i = 0; i < 32; ++i) {
    // 20 lanes: 190 + 20 * round; 12 lanes: 306 + 12 * round.
    CHECK(v[i] == (i < 20 ? 3 * 190 + 20 * 3 : 5 * 306 + 12 * 10));
  }
}

TEST_CASE("ldmatrix and mma multiply matrices") {
  const int b_is_k_major = GENERATE(0, 1);
  std::mt19937 random(11);
  std::vector<uint16_t> a(256), b(256);
  for (auto* m : {&a, &b}) {
    for (uint16_t& x : *m)
      x = static_cast<uint16_t>(0x3f80 + random() % 64 + random() % 2 * 0x8000);
  }
  DeviceValues<float> d(256);
  RunWarp(Product, DeviceValues<uint16_t>(a).data(), DeviceValues<uint16_t>(b).data(), d.data(),
          b_is_k_major);
  const auto v = d.Read();
  for (size_t m = 0; m < 16; ++m) {
    for (size_t n = 0; n < 16; ++n) {
      double want = 1;
      for (size_t k = 0; k < 16; ++k) {
        want += Bf16(a[m * 16 + k]) * Bf16(b[b_is_k_major != 0 ? k * 16 + n : n * 16 + k]);
      }
      CHECK(v[m * 16 + n] == static_cast<float>(want));  // 16 + 14 bits: exact
    }
  }
}

}  // namespace lynx::testing
