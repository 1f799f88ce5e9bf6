// What kernels do wrong, and what is said about it.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/ptx.cuh"
#include "tests/simt_test/device_values.h"

namespace lynx::testing {
namespace {

using Catch::Matchers::Contains;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;  // which ends the process first
#else
constexpr bool kSanitized = false;
#endif

template <class... P, class... A>
std::string ErrorOf(void (*kernel)(P...), unsigned threads, size_t smem, A... arguments) {
  REQUIRE(Launch("Wrong", kernel, dim3(2), dim3(threads), smem, nullptr, arguments...) ==
          cudaSuccess);
  CHECK(cudaDeviceSynchronize() == cudaErrorLaunchFailure);
  const std::string text = simt::LastError();
  simt::ResetDevice();
  return text;
}

__global__ void Nothing() {}
__global__ void SkipBarrier() {
  if (threadIdx.x != 3) __syncthreads();
  if (threadIdx.x == 3) NamedBarrier(1, 64);
}
__global__ void TwoBarriers() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
__global__ void LeftOut() { __syncwarp(threadIdx.x == 4 ? ~0x10u : ~0u); }
__global__ void FromOutside() {
  if (threadIdx.x < 16) __shfl_sync(0xffffu, 1, 20);
}
__global__ void NoSuchLanes() { __syncwarp(~0u); }
__global__ void TooMuchShared() {
  SmemAlloc smem;
  smem.Take<int>(64);
  smem.Take<int>(64);
}
__global__ void UnequalShared() {
  SmemAlloc smem;
  smem.Take<int>(threadIdx.x == 0 ? 8 : 4);
}
__global__ void PastShared() {
  SmemAlloc smem;
  volatile int* values = smem.Take<int>(16);
  if (threadIdx.x == 0) values[17] = 1;
}
__global__ void PendingCopy(const int* in) {
  SmemAlloc smem;
  CpAsync16(smem.Take<int>(4), in);
  CpAsyncCommit();
}
__global__ void MisalignedCopy(const int* in) {
  SmemAlloc smem;
  CpAsync16(smem.Take<int>(8) + 1, in);
}
__global__ void GlobalLdmatrix(const int* in) {
  uint32_t r[4];
  Ldmatrix4(r, in);
}
__global__ void WriteAt(volatile int* out, int64_t i) {
  if (threadIdx.x == 5) out[i] = 1;
}
__global__ void Trap() {
  if (threadIdx.x == 1) __trap();
}

}  // namespace

TEST_CASE("a launch checks its configuration at once") {
  const auto bad = [](dim3 grid, dim3 block, size_t smem) {
    const cudaError_t error = Launch("Nothing", Nothing, grid, block, smem, nullptr);
    CHECK(cudaPeekAtLastError() == error);
    CHECK(cudaGetLastError() == error);
    CHECK(cudaGetLastError() == cudaSuccess);
    return error == cudaErrorInvalidConfiguration;
  };
  CHECK(bad(dim3(0), dim3(32), 0));
  CHECK(bad(dim3(1, 65536), dim3(32), 0));
  CHECK(bad(dim3(1), dim3(0), 0));
  CHECK(bad(dim3(1), dim3(1025), 0));
  CHECK(bad(dim3(1), dim3(1, 1, 65), 0));
  CHECK(bad(dim3(1), dim3(32), 227 * 1024 + 1));
  CHECK(Launch("Nothing", Nothing, dim3(1), dim3(1024), 227 * 1024, nullptr) == cudaSuccess);
  CHECK(cudaDeviceSynchronize() == cudaSuccess);
}

TEST_CASE("a failure stays until it is reset, and names its place") {
  REQUIRE(Launch("Trap", Trap, dim3(1), dim3(32), 0, nullptr) == cudaSuccess);
  CHECK(cudaStreamSynchronize(nullptr) == cudaErrorLaunchFailure);
  CHECK_THAT(simt::LastError(), Contains("__trap()") && Contains("kernel_error_test.cc:") &&
                                    Contains("kernel Trap, block (0,0,0) thread 1"));
  CHECK(cudaGetLastError() == cudaErrorLaunchFailure);
  CHECK(cudaGetLastError() == cudaErrorLaunchFailure);
  void* p = nullptr;
  CHECK(cudaMalloc(&p, 16) == cudaErrorLaunchFailure);
  CHECK(Launch("Nothing", Nothing, dim3(1), dim3(1), 0, nullptr) == cudaErrorLaunchFailure);
  simt::ResetDevice();
  CHECK(cudaGetLastError() == cudaSuccess);
  CHECK(Launch("Nothing", Nothing, dim3(1), dim3(32), 0, nullptr) == cudaSuccess);
  CHECK(cudaDeviceSynchronize() == cudaSuccess);
}

TEST_CASE("barriers and collectives that do not meet") {
  CHECK_THAT(ErrorOf(SkipBarrier, 64, 0), Contains("deadlock") &&
                                              Contains("waits in __syncthreads at") &&
                                              Contains("thread 3 waits in NamedBarrier at"));
  CHECK_THAT(ErrorOf(TwoBarriers, 64, 0), Contains("barrier 0 reached from two places"));
  CHECK_THAT(ErrorOf(LeftOut, 32, 0), Contains("lane 4") && Contains("which leaves it out"));
  CHECK_THAT(ErrorOf(FromOutside, 32, 0), Contains("shuffles from lane 20"));
  CHECK_THAT(ErrorOf(NoSuchLanes, 20, 0), Contains("lanes that the block does not have"));
}

TEST_CASE("shared memory and copies") {
  CHECK_THAT(ErrorOf(TooMuchShared, 32, 400), Contains("needs 512 bytes, the launch gave 400"));
  CHECK_THAT(ErrorOf(UnequalShared, 32, 400),
             Contains("threads disagree on shared-memory array 0"));
  if (!kSanitized) {
    CHECK_THAT(ErrorOf(PastShared, 32, 64), Contains("4 bytes past the end of array 0"));
  }
  const DeviceValues<int> in(64, 0);
  CHECK_THAT(ErrorOf(PendingCopy, 1, 64, in.data()), Contains("cp.async still pending"));
  CHECK_THAT(ErrorOf(MisalignedCopy, 1, 64, in.data()), Contains("not aligned to 16 bytes"));
  CHECK_THAT(ErrorOf(GlobalLdmatrix, 32, 64, in.data()), Contains("not shared memory"));
}

TEST_CASE("device memory that a kernel does not have") {
  if (kSanitized) return;
  DeviceValues<int> out(1000, 0);
  CHECK_THAT(ErrorOf(WriteAt, 32, 0, out.data(), int64_t{1024}),
             Contains("byte 4096 of an allocation of 4000 bytes") &&
                 Contains("kernel Wrong, block (0,0,0) thread 5"));
  // Within what alignment leaves: found by the next synchronization of the device.
  CHECK_THAT(ErrorOf(WriteAt, 32, 0, out.data(), int64_t{1000}),
             Contains("written behind an allocation of 4000 bytes"));
  int* freed = nullptr;
  REQUIRE(cudaMalloc(reinterpret_cast<void**>(&freed), 64) == cudaSuccess);
  REQUIRE(cudaFree(freed) == cudaSuccess);
  CHECK_THAT(ErrorOf(WriteAt, 32, 0, freed, int64_t{3}),
             Contains("byte 12 of a freed allocation of 64 bytes"));
  CHECK_THAT(ErrorOf(WriteAt, 32, 0, static_cast<int*>(nullptr), int64_t{4}),
             Contains("address 0x10"));
}

}  // namespace lynx::testing
