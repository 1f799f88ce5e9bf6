#include <catch2/catch.hpp>
#include <cstdint>
#include <set>
#include <vector>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/ptx.cuh"
#include "tests/simt_test/device_values.h"

namespace lynx::testing {
namespace {

struct OptionsScope {
  simt::Options before = simt::options();
  ~OptionsScope() { simt::options() = before; }
};

template <class... P, class... A>
void Run(void (*kernel)(P...), dim3 grid, dim3 block, size_t smem, A... arguments) {
  REQUIRE(Launch("test", kernel, grid, block, smem, nullptr, arguments...) == cudaSuccess);
  REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
}

__global__ void WriteIndices(unsigned* out) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const unsigned i = block * blockDim.x * blockDim.y * blockDim.z + thread;
  out[i] = i;
}

// Each thread takes the value of its mirror image, by way of shared memory.
__global__ void Mirror(const int* in, int* out) {
  SmemAlloc smem;
  int* values = smem.Take<int>(blockDim.x);
  const unsigned last = blockDim.x - 1;
  values[threadIdx.x] = in[blockIdx.x * blockDim.x + threadIdx.x];
  __syncthreads();
  out[blockIdx.x * blockDim.x + threadIdx.x] = values[last - threadIdx.x];
}

// Two halves of the block go through different numbers of phases.
__global__ void Halves(int* out) {
  SmemAlloc smem;
  int* values = smem.Take<int>(128);
  const int half = static_cast<int>(threadIdx.x) / 64;
  const int i = static_cast<int>(threadIdx.x) % 64;
  int* mine = values + half * 64;
  mine[i] = i;
  for (int phase = 0; phase < 2 + half; ++phase) {
    NamedBarrier(1 + half, 64);
    const int next = mine[(i + 1) % 64];
    NamedBarrier(1 + half, 64);
    mine[i] = next;
  }
  out[threadIdx.x] = mine[i];
}

// Which thread and which block came when.
__global__ void Order(int* count, int* threads, int* blocks) {
  const int at = atomicAdd(count, 1);
  threads[at] = static_cast<int>(threadIdx.x);
  blocks[at] = static_cast<int>(blockIdx.x);
}

// The last block to finish adds up what all have written.
__global__ void LastBlock(unsigned* finished, unsigned* values, unsigned* sum) {
  values[blockIdx.x] = blockIdx.x + 1;
  __threadfence();
  if (atomicAdd(finished, 1u) != gridDim.x - 1) return;
  for (unsigned i = 0; i < gridDim.x; ++i) *sum += values[i];
}

// Block i has element i.
__global__ void Halve(const float* in, float* out) { out[blockIdx.x] = in[blockIdx.x] * 0.5f; }
__global__ void Copy(const float* in, float* out) { out[blockIdx.x] = in[blockIdx.x] + 0.0f; }

__global__ void ReadUnwritten(uint32_t* out) {
  SmemAlloc smem;
  out[threadIdx.x] = smem.Take<uint32_t>(32)[threadIdx.x];
}

__global__ void StageRows(const int* in, int* out, int rows) {
  SmemAlloc smem;
  int* stage = smem.Take<int>(2 * 128);
  const int at = static_cast<int>(threadIdx.x) * 4;
  CpAsync16(stage + at, in + at);
  CpAsyncCommit();
  for (int row = 0; row < rows; ++row) {
    if (row + 1 < rows) CpAsync16(stage + (row + 1) % 2 * 128 + at, in + (row + 1) * 128 + at, 8);
    CpAsyncCommit();
    CpAsyncWait<1>();
    __syncthreads();
    for (int i = 0; i < 4; ++i) out[row * 128 + at + i] = stage[row % 2 * 128 + 127 - at - i];
    __syncthreads();
  }
  CpAsyncWait<0>();
}

__global__ void LoadStrided(int stride, float* out) {
  SmemAlloc smem;
  float* values = smem.Take<float>(32 * 32);
  StoreShared(values + threadIdx.x * static_cast<unsigned>(stride), 1.0f);
  __syncwarp();
  out[threadIdx.x] = LoadShared(values + threadIdx.x * static_cast<unsigned>(stride));
}

// All lanes read one word, twice.
__global__ void LoadOneWord(int word, float* out) {
  SmemAlloc smem;
  float* values = smem.Take<float>(32);
  if (threadIdx.x == 0) values[word] = 1.0f;
  __syncwarp();
  out[threadIdx.x] = LoadShared(values + word);
  __syncwarp();
  out[threadIdx.x] += LoadShared(values + word);
}

__global__ void LoadVectors(int stride, float* out) {
  SmemAlloc smem;
  float4* values = smem.Take<float4>(32 * 8);
  StoreShared(values + threadIdx.x * static_cast<unsigned>(stride), float4{1, 2, 3, 4});
  __syncwarp();
  out[threadIdx.x] = LoadShared(values + threadIdx.x * static_cast<unsigned>(stride)).w;
}

std::vector<int> Ascending(size_t n) {
  std::vector<int> values(n);
  for (size_t i = 0; i < n; ++i) values[i] = static_cast<int>(i);
  return values;
}

}  // namespace

TEST_CASE("every thread of every block runs once, in three dimensions") {
  const OptionsScope restore;
  const size_t n = 2 * 3 * 4 * 4 * 2 * 5;
  for (uint64_t seed : {0, 5}) {
    simt::options().seed = seed;
    DeviceValues<unsigned> out(n);
    Run(WriteIndices, dim3(2, 3, 4), dim3(4, 2, 5), 0, out.data());
    const auto values = out.Read();
    for (size_t i = 0; i < n; ++i) REQUIRE(values[i] == i);
  }
}

TEST_CASE("a barrier holds all threads of the block") {
  const OptionsScope restore;
  const auto threads = GENERATE(1u, 31u, 33u, 128u, 1024u);
  const size_t n = threads * 3;
  for (uint64_t seed : {0, 1, 2}) {
    simt::options().seed = seed;
    const DeviceValues<int> in(Ascending(n));
    DeviceValues<int> out(n);
    Run(Mirror, dim3(3), dim3(threads), threads * 4, in.data(), out.data());
    const auto values = out.Read();
    for (size_t i = 0; i < n; ++i) {
      REQUIRE(values[i] == static_cast<int>(i / threads * threads + threads - 1 - i % threads));
    }
  }
}

TEST_CASE("named barriers hold their own threads only") {
  const OptionsScope restore;
  for (uint64_t seed : {0, 1, 2}) {
    simt::options().seed = seed;
    DeviceValues<int> out(128);
    Run(Halves, dim3(1), dim3(128), 128 * 4, out.data());
    const auto values = out.Read();
    for (int i = 0; i < 128; ++i) {
      REQUIRE(values[static_cast<size_t>(i)] == (i % 64 + 2 + i / 64) % 64);
    }
  }
}

TEST_CASE("a seed gives an order of threads and blocks, the same each time") {
  const OptionsScope restore;
  std::set<std::pair<std::vector<int>, std::vector<int>>> seen;
  for (uint64_t seed : {0, 1, 2, 0, 1, 2}) {
    simt::options().seed = seed;
    const DeviceValues<int> count(1, 0);
    const DeviceValues<int> threads(64);
    const DeviceValues<int> blocks(64);
    Run(Order, dim3(8), dim3(8), 0, count.data(), threads.data(), blocks.data());
    seen.insert({threads.Read(), blocks.Read()});
    if (seed != 0) continue;
    for (int i = 0; i < 64; ++i) {
      REQUIRE(threads.Read()[static_cast<size_t>(i)] == i % 8);
      REQUIRE(blocks.Read()[static_cast<size_t>(i)] == i / 8);
    }
  }
  CHECK(seen.size() == 3);
}

TEST_CASE("several OS threads compute what one does") {
  const OptionsScope restore;
  for (int workers : {1, 2, 3}) {
    simt::options().workers = workers;
    const DeviceValues<unsigned> finished(1, 0);
    const DeviceValues<unsigned> values(100);
    DeviceValues<unsigned> sum(1, 0);
    Run(LastBlock, dim3(100), dim3(1), 0, finished.data(), values.data(), sum.data());
    REQUIRE(sum.Read()[0] == 5050);
    const DeviceValues<int> in(Ascending(96 * 50));
    DeviceValues<int> out(96 * 50);
    Run(Mirror, dim3(50), dim3(96), 96 * 4, in.data(), out.data());
    REQUIRE(out.Read()[96 * 7] == 96 * 8 - 1);
  }
}

TEST_CASE("numbers below the normal range are zero in a kernel and only there") {
  const OptionsScope restore;
  simt::options().workers = GENERATE(1, 2);
  const float least = 0x1p-126f;
  const DeviceValues<float> in(std::vector<float>{least, 3 * least, least / 4, 1.0f});
  DeviceValues<float> halved(4);
  DeviceValues<float> copied(4);
  Run(Halve, dim3(4), dim3(1), 0, in.data(), halved.data());
  Run(Copy, dim3(4), dim3(1), 0, in.data(), copied.data());
  CHECK(halved.Read() == std::vector<float>{0.0f, 1.5f * least, 0.0f, 0.5f});
  CHECK(copied.Read() == std::vector<float>{least, 3 * least, 0.0f, 1.0f});
  volatile float host = least;
  CHECK(host * 0.5f != 0.0f);
}

TEST_CASE("shared memory that nobody wrote is full of ones") {
  DeviceValues<uint32_t> out(32);
  for (int run = 0; run < 2; ++run) {
    Run(ReadUnwritten, dim3(1), dim3(32), 128, out.data());
    CHECK(out.Read() == std::vector<uint32_t>(32, 0xffffffffu));
  }
}

TEST_CASE("cp.async brings rows in groups, and zeros behind what it is given") {
  const OptionsScope restore;
  simt::options().cp_defer = GENERATE(true, false);
  simt::options().seed = GENERATE(0u, 1u);
  const int rows = 5;
  const DeviceValues<int> in(Ascending(rows * 128));
  DeviceValues<int> out(rows * 128);
  Run(StageRows, dim3(1), dim3(32), 2 * 128 * 4, in.data(), out.data(), rows);
  const auto values = out.Read();
  for (int i = 0; i < rows * 128; ++i) {
    const int source = i / 128 * 128 + 127 - i % 128;
    const bool filled = i / 128 > 0 && source % 4 >= 2;
    REQUIRE(values[static_cast<size_t>(i)] == (filled ? 0 : source));
  }
}

TEST_CASE("bank conflicts of plain accesses are counted") {
  DeviceValues<float> out(32);
  auto conflicts_of = [&](auto kernel, int stride) {
    const simt::Stats before = simt::stats();
    Run(kernel, dim3(1), dim3(32), 4096, stride, out.data());
    CHECK(simt::stats().smem == before.smem + 2);
    return simt::stats().smem_conflicts - before.smem_conflicts;
  };
  CHECK(conflicts_of(LoadOneWord, 5) == 0);
  CHECK(conflicts_of(LoadStrided, 1) == 0);
  CHECK(conflicts_of(LoadStrided, 2) == 2 * 1);
  CHECK(conflicts_of(LoadStrided, 32) == 2 * 31);
  CHECK(conflicts_of(LoadVectors, 1) == 0);
  CHECK(conflicts_of(LoadVectors, 2) == 2 * 4);  // 8 lanes at a time, two turns each
  CHECK(conflicts_of(LoadVectors, 8) == 2 * 4 * 7);
}

}  // namespace lynx::testing
