#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "api.h"
#include "tests/simt_test/device_values.h"

namespace lynx::testing {
namespace {

struct Restore {
  simt::DeviceOptions before = simt::GetDeviceOptions();
  ~Restore() {
    simt::SetDeviceOptions(before);
    cudaGetLastError();
  }
};

// What a child process that runs `body` prints to stderr before it dies by a signal or a sanitizer;
// "" if it lives.
std::string DyingWords(const std::function<void()>& body) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    signal(SIGSEGV, SIG_DFL);  // not Catch's, which would report to its output
    int device = 0;
    cudaGetDevice(&device);
    body();
    _exit(0);
  }
  close(ends[1]);
  std::string words;
  char buffer[512];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;) {
    words.append(buffer, static_cast<size_t>(n));
  }
  close(ends[0]);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return status == 0 ? "" : words;
}

template <class T>
T* Allocate(size_t bytes) {
  void* p = nullptr;
  REQUIRE(cudaMalloc(&p, bytes) == cudaSuccess);
  return static_cast<T*>(p);
}

}  // namespace

TEST_CASE("the host cannot touch device memory") {
  const Restore restore;
  volatile int* p = Allocate<int>(4096);
  auto has = [](const std::string& words, const char* text) {
    return words.find(text) != std::string::npos;
  };
  const std::string read = DyingWords([=] { (void)p[4]; });
  CHECK(has(read, "the host reads or writes device memory: byte 16 of an allocation of 4096"));
  CHECK(has(DyingWords([=] { p[1] = 1; }), "byte 4 of an allocation of 4096"));
  const std::string after_work = DyingWords([=] {
    cudaMemset(const_cast<int*>(p), 0, 4096);
    cudaDeviceSynchronize();
    (void)p[0];
  });
  CHECK(has(after_work, "byte 0 of an allocation of 4096"));
  const std::string other_thread = DyingWords([=] {
    cudaMemset(const_cast<int*>(p), 0, 4096);
    std::thread([] { cudaDeviceSynchronize(); }).join();
    std::thread([=] { (void)p[1]; }).join();
  });
  CHECK(has(other_thread, "byte 4 of an allocation of 4096"));
  simt::DeviceOptions o = restore.before;
  o.guard = false;
  simt::SetDeviceOptions(o);
  CHECK(DyingWords([=] { (void)p[4]; }).empty());
  REQUIRE(cudaFree(const_cast<int*>(p)) == cudaSuccess);
}

TEST_CASE("new memory is full of ones, aligned, and counted") {
  const Restore restore;
  size_t free_before = 0, free_now = 0, total = 0;
  REQUIRE(cudaMemGetInfo(&free_before, &total) == cudaSuccess);
  CHECK(total == restore.before.total_bytes);
  auto* p = Allocate<unsigned char>(1000);
  CHECK(reinterpret_cast<uintptr_t>(p) % 256 == 0);
  REQUIRE(cudaMemGetInfo(&free_now, &total) == cudaSuccess);
  CHECK(free_before - free_now == 1000);
  std::vector<unsigned char> values(1000);
  REQUIRE(cudaMemcpy(values.data(), p, 1000, cudaMemcpyDeviceToHost) == cudaSuccess);
  CHECK(values == std::vector<unsigned char>(1000, 0xff));
  REQUIRE(cudaFree(p) == cudaSuccess);
  CHECK(cudaFree(p) == cudaErrorInvalidValue);
  CHECK(cudaFree(nullptr) == cudaSuccess);
}

TEST_CASE("allocations fail when they are told to, or when memory is short") {
  const Restore restore;
  simt::DeviceOptions o = restore.before;
  o.allocations_before_failure = 2;
  o.total_bytes = simt::AllocatedDeviceBytes() + 3000;
  simt::SetDeviceOptions(o);
  void* p[4] = {};
  CHECK(cudaMalloc(&p[0], 1000) == cudaSuccess);
  CHECK(cudaMallocHost(&p[1], 1000) == cudaSuccess);
  CHECK(cudaMalloc(&p[2], 1000) == cudaErrorMemoryAllocation);
  CHECK(p[2] == nullptr);
  CHECK(cudaMalloc(&p[2], 2001) == cudaErrorMemoryAllocation);
  CHECK(cudaMalloc(&p[3], 2000) == cudaSuccess);
  CHECK(cudaGetLastError() == cudaErrorMemoryAllocation);
  CHECK(cudaFree(p[0]) == cudaSuccess);
  CHECK(cudaFreeHost(p[1]) == cudaSuccess);
  CHECK(cudaFree(p[3]) == cudaSuccess);
}

TEST_CASE("no device, and a driver that is too old") {
  const Restore restore;
  simt::DeviceOptions o = restore.before;
  int count = -1;
  o.devices = 0;
  simt::SetDeviceOptions(o);
  CHECK(cudaGetDeviceCount(&count) == cudaErrorNoDevice);
  CHECK(count == 0);
  CHECK(cudaSetDevice(0) == cudaErrorNoDevice);
  o.devices = 3;
  o.driver_version = CUDART_VERSION - 10;
  simt::SetDeviceOptions(o);
  CHECK(cudaGetDeviceCount(&count) == cudaErrorInsufficientDriver);
  o.driver_version = CUDART_VERSION;
  simt::SetDeviceOptions(o);
  CHECK(cudaGetDeviceCount(&count) == cudaSuccess);
  CHECK(count == 3);
  CHECK(cudaSetDevice(3) == cudaErrorInvalidDevice);
  CHECK(cudaSetDevice(2) == cudaSuccess);
  CHECK(cudaSetDevice(0) == cudaSuccess);
}

TEST_CASE("a copy's kind and extent are checked") {
  const Restore restore;
  auto* d = Allocate<char>(100);
  char h[200] = {};
  CHECK(cudaMemcpyAsync(d, h, 100, cudaMemcpyDeviceToHost, nullptr) ==
        cudaErrorInvalidMemcpyDirection);
  CHECK(cudaMemcpyAsync(h, d, 100, cudaMemcpyHostToDevice, nullptr) ==
        cudaErrorInvalidMemcpyDirection);
  CHECK(cudaMemcpyAsync(d, h, 100, cudaMemcpyDeviceToDevice, nullptr) ==
        cudaErrorInvalidMemcpyDirection);
  CHECK(cudaMemcpyAsync(d, h, 101, cudaMemcpyHostToDevice, nullptr) == cudaErrorInvalidValue);
  CHECK(cudaMemcpyAsync(d + 50, h, 51, cudaMemcpyHostToDevice, nullptr) == cudaErrorInvalidValue);
  CHECK(cudaMemsetAsync(d + 50, 0, 51, nullptr) == cudaErrorInvalidValue);
  CHECK(cudaMemsetAsync(h, 0, 10, nullptr) == cudaErrorInvalidValue);
  CHECK(cudaMemcpy2DAsync(d, 10, h, 20, 11, 2, cudaMemcpyDefault, nullptr) ==
        cudaErrorInvalidPitchValue);
  CHECK(cudaMemcpy2DAsync(d, 50, h, 20, 20, 3, cudaMemcpyDefault, nullptr) ==
        cudaErrorInvalidValue);
  CHECK(cudaMemcpyAsync(d, h, 100, cudaMemcpyDefault, nullptr) == cudaSuccess);
  REQUIRE(cudaFree(d) == cudaSuccess);
}

TEST_CASE("rows are copied between pitches") {
  std::vector<char> in(60);
  for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<char>(i);
  auto* d = Allocate<char>(40);
  REQUIRE(cudaMemset(d, 0x55, 40) == cudaSuccess);
  REQUIRE(cudaMemcpy2DAsync(d, 16, in.data(), 20, 7, 3, cudaMemcpyHostToDevice, nullptr) ==
          cudaSuccess);
  std::vector<char> out(40);
  REQUIRE(cudaMemcpy(out.data(), d, 40, cudaMemcpyDeviceToHost) == cudaSuccess);
  for (size_t i = 0; i < 40; ++i) {
    CHECK(out[i] == (i % 16 < 7 ? static_cast<char>(i / 16 * 20 + i % 16) : 0x55));
  }
  REQUIRE(cudaFree(d) == cudaSuccess);
}

TEST_CASE("pageable memory is read in the call, pinned memory when the copy runs") {
  auto* d = Allocate<int>(8);
  int pageable = 1;
  int* pinned = nullptr;
  REQUIRE(cudaMallocHost(reinterpret_cast<void**>(&pinned), 4) == cudaSuccess);
  *pinned = 1;
  REQUIRE(cudaMemcpyAsync(d, &pageable, 4, cudaMemcpyHostToDevice, nullptr) == cudaSuccess);
  REQUIRE(cudaMemcpyAsync(d + 1, pinned, 4, cudaMemcpyHostToDevice, nullptr) == cudaSuccess);
  pageable = 2;
  *pinned = 2;
  int out[2] = {};
  // Into pageable memory: done on return.
  REQUIRE(cudaMemcpyAsync(out, d, 8, cudaMemcpyDeviceToHost, nullptr) == cudaSuccess);
  CHECK(out[0] == 1);
  CHECK(out[1] == 2);
  // Into pinned memory: not before somebody waits.
  REQUIRE(cudaMemcpyAsync(pinned, d, 4, cudaMemcpyDeviceToHost, nullptr) == cudaSuccess);
  CHECK(*pinned == 2);
  REQUIRE(cudaStreamSynchronize(nullptr) == cudaSuccess);
  CHECK(*pinned == 1);
  REQUIRE(cudaFreeHost(pinned) == cudaSuccess);
  REQUIRE(cudaFree(d) == cudaSuccess);
}

TEST_CASE("registered memory is pinned") {
  const Restore restore;
  std::vector<int> host(64, 1);
  cudaPointerAttributes attributes{};
  REQUIRE(cudaHostRegister(host.data(), 256, cudaHostRegisterDefault) == cudaSuccess);
  CHECK(cudaHostRegister(host.data(), 256, 0) == cudaErrorHostMemoryAlreadyRegistered);
  REQUIRE(cudaPointerGetAttributes(&attributes, &host[63]) == cudaSuccess);
  CHECK(attributes.type == cudaMemoryTypeHost);
  REQUIRE(cudaHostUnregister(host.data()) == cudaSuccess);
  CHECK(cudaHostUnregister(host.data()) == cudaErrorHostMemoryNotRegistered);
  REQUIRE(cudaPointerGetAttributes(&attributes, host.data()) == cudaSuccess);
  CHECK(attributes.type == cudaMemoryTypeUnregistered);
  auto* d = Allocate<int>(16);
  REQUIRE(cudaPointerGetAttributes(&attributes, d + 1) == cudaSuccess);
  CHECK(attributes.type == cudaMemoryTypeDevice);
  REQUIRE(cudaFree(d) == cudaSuccess);
}

TEST_CASE("freeing waits for the device") {
  auto* d = Allocate<int>(4);
  bool ran = false;
  REQUIRE(simt::Enqueue(nullptr, [&] { ran = d[0] == -1; }) == cudaSuccess);
  REQUIRE(cudaFree(d) == cudaSuccess);
  CHECK(ran);
}

TEST_CASE("calls are counted by the function's name") {
  const auto counts = [] {
    std::map<std::string, uint64_t> all = simt::CallCounts();
    return std::vector<uint64_t>{all["cudaMalloc"],    all["cudaFree"],
                                 all["cudaHostAlloc"], all["cudaMallocHost"],
                                 all["QueueLaunch"],   all["cudaStreamCreateWithFlags"]};
  };
  const std::vector<uint64_t> before = counts();
  auto* d = Allocate<int>(4);
  void* pinned = nullptr;
  cudaStream_t stream = nullptr;
  REQUIRE(cudaHostAlloc(&pinned, 16, cudaHostAllocDefault) == cudaSuccess);
  REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);
  simt::TakeLaunchedKernels();
  const int kernels[2] = {};
  for (int i : {0, 0, 1}) {
    REQUIRE(simt::QueueLaunch("kernel", kernels + i, 1, 1, 0, stream, [] {}) == cudaSuccess);
  }
  CHECK(simt::TakeLaunchedKernels() == std::set<std::pair<std::string, const void*>>{
                                           {"kernel", kernels}, {"kernel", kernels + 1}});
  CHECK(simt::TakeLaunchedKernels().empty());
  REQUIRE(cudaFree(d) == cudaSuccess);
  REQUIRE(cudaFreeHost(pinned) == cudaSuccess);
  REQUIRE(cudaStreamDestroy(stream) == cudaSuccess);
  std::vector<uint64_t> calls = counts();
  for (size_t i = 0; i < calls.size(); ++i) calls[i] -= before[i];
  CHECK(calls == std::vector<uint64_t>{1, 1, 1, 0, 3, 1});
}

}  // namespace lynx::testing
