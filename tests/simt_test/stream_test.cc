#include <atomic>
#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "api.h"
#include "tests/simt_test/device_values.h"

namespace lynx::testing {
namespace {

struct Reset {
  simt::DeviceOptions before = simt::GetDeviceOptions();
  ~Reset() {
    simt::ResetDevice();
    simt::SetDeviceOptions(before);
  }
};

cudaStream_t NewStream(unsigned flags = cudaStreamNonBlocking) {
  cudaStream_t s = nullptr;
  REQUIRE(cudaStreamCreateWithFlags(&s, flags) == cudaSuccess);
  return s;
}
cudaEvent_t NewEvent() {
  cudaEvent_t e = nullptr;
  REQUIRE(cudaEventCreateWithFlags(&e, cudaEventDisableTiming) == cudaSuccess);
  return e;
}

struct Pinned {
  int* value = nullptr;
  Pinned() {
    REQUIRE(cudaMallocHost(reinterpret_cast<void**>(&value), sizeof(int)) == cudaSuccess);
  }
  ~Pinned() { cudaFreeHost(value); }
};

void Append(cudaStream_t s, std::vector<int>* log, int x) {
  REQUIRE(simt::Enqueue(s, [=] { log->push_back(x); }) == cudaSuccess);
}

// What is copied on `b` after a copy on `a`.
int CopyAcross(bool wait) {
  const cudaStream_t a = NewStream();
  const cudaStream_t b = NewStream();
  const cudaEvent_t copied = NewEvent();
  const DeviceValues<int> x(1, 0);
  const Pinned in, out;
  REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  *in.value = 42;
  cudaMemcpyAsync(x.data(), in.value, 4, cudaMemcpyHostToDevice, a);
  cudaEventRecord(copied, a);
  if (wait) cudaStreamWaitEvent(b, copied, 0);
  cudaMemcpyAsync(out.value, x.data(), 4, cudaMemcpyDeviceToHost, b);
  REQUIRE(cudaStreamSynchronize(b) == cudaSuccess);
  const int got = *out.value;
  REQUIRE(cudaStreamDestroy(a) == cudaSuccess);
  REQUIRE(cudaStreamDestroy(b) == cudaSuccess);
  REQUIRE(cudaEventDestroy(copied) == cudaSuccess);
  return got;
}

}  // namespace

TEST_CASE("a missing wait for an event shows") {
  CHECK(CopyAcross(true) == 42);
  CHECK(CopyAcross(false) == 0);
}

TEST_CASE("a stream runs in order, and only when somebody waits") {
  const Reset reset;
  const cudaStream_t s = NewStream();
  std::vector<int> log;
  for (int i = 0; i < 4; ++i) Append(s, &log, i);
  CHECK(log.empty());
  REQUIRE(cudaStreamSynchronize(s) == cudaSuccess);
  CHECK(log == std::vector<int>{0, 1, 2, 3});
  REQUIRE(cudaStreamDestroy(s) == cudaSuccess);
}

TEST_CASE("polls come to an end, with other streams' work between") {
  const Reset reset;
  const cudaStream_t a = NewStream();
  const cudaStream_t b = NewStream();
  const cudaEvent_t half = NewEvent();
  std::vector<int> log;
  for (int i = 0; i < 20; ++i) {
    Append(a, &log, i);
    if (i == 9) REQUIRE(cudaEventRecord(half, a) == cudaSuccess);
    Append(b, &log, 100 + i);
  }
  int polls = 0;
  while (cudaEventQuery(half) == cudaErrorNotReady) ++polls;
  CHECK(polls >= 10);
  CHECK(std::count_if(log.begin(), log.end(), [](int x) { return x < 100; }) >= 10);
  CHECK(std::count_if(log.begin(), log.end(), [](int x) { return x >= 100; }) > 0);
  while (cudaStreamQuery(b) == cudaErrorNotReady) {
  }
  CHECK(std::count_if(log.begin(), log.end(), [](int x) { return x >= 100; }) == 20);
  cudaGetLastError();
}

TEST_CASE("an event is done with what was before its last recording") {
  const Reset reset;
  const cudaStream_t s = NewStream();
  const cudaEvent_t e = NewEvent();
  std::vector<int> log;
  CHECK(cudaEventQuery(e) == cudaSuccess);  // never recorded
  Append(s, &log, 1);
  REQUIRE(cudaEventRecord(e, s) == cudaSuccess);
  Append(s, &log, 2);
  REQUIRE(cudaEventRecord(e, s) == cudaSuccess);
  Append(s, &log, 3);
  REQUIRE(cudaEventSynchronize(e) == cudaSuccess);
  CHECK(log == std::vector<int>{1, 2});
}

TEST_CASE("blocking streams and the default stream wait for each other") {
  const Reset reset;
  const cudaStream_t blocking = NewStream(cudaStreamDefault);
  const cudaStream_t free = NewStream();
  std::vector<int> log;
  Append(blocking, &log, 1);
  Append(free, &log, 9);
  Append(nullptr, &log, 2);
  Append(blocking, &log, 3);
  REQUIRE(cudaStreamSynchronize(blocking) == cudaSuccess);
  CHECK(log == std::vector<int>{1, 2, 3});
}

TEST_CASE("an immediate device does all in the call") {
  const Reset reset;
  simt::DeviceOptions o;
  o.immediate = true;
  simt::SetDeviceOptions(o);
  const cudaStream_t s = NewStream();
  std::vector<int> log;
  Append(s, &log, 1);
  CHECK(log == std::vector<int>{1});
  CHECK(CopyAcross(false) == 42);
}

TEST_CASE("while one stream waits for others, all move") {
  const Reset reset;
  const cudaStream_t a = NewStream();
  const cudaStream_t b = NewStream();
  bool sent = false;
  int asked = 0;
  REQUIRE(simt::EnqueuePolled(a, [&] {
            ++asked;
            return sent ? simt::Step::kDone : simt::Step::kAgain;
          }) == cudaSuccess);
  REQUIRE(simt::Enqueue(b, [&] { sent = true; }) == cudaSuccess);
  REQUIRE(cudaStreamSynchronize(a) == cudaSuccess);
  CHECK(asked >= 2);
}

TEST_CASE("an operation may block if it says so") {
  const Reset reset;
  const cudaStream_t a = NewStream();
  const cudaStream_t b = NewStream();
  std::atomic<bool> reached = false;
  std::atomic<bool> go_on = false;
  REQUIRE(simt::Enqueue(a, [&] {
            const simt::BlockingRegion blocked;
            reached = true;
            reached.notify_all();
            go_on.wait(false);
          }) == cudaSuccess);
  std::thread waiter([&] { cudaStreamSynchronize(a); });
  reached.wait(false);
  REQUIRE(simt::Enqueue(b, [&] {
            go_on = true;
            go_on.notify_all();
          }) == cudaSuccess);
  CHECK(cudaStreamSynchronize(b) == cudaSuccess);
  waiter.join();
}

TEST_CASE("host functions run in their stream's order and may not call CUDA") {
  const Reset reset;
  const cudaStream_t s = NewStream();
  std::vector<int> log;
  Append(s, &log, 1);
  auto call = [](void* l) {
    auto* list = static_cast<std::vector<int>*>(l);
    list->push_back(2);
    list->push_back(cudaStreamSynchronize(nullptr));
  };
  REQUIRE(cudaLaunchHostFunc(s, call, &log) == cudaSuccess);
  Append(s, &log, 3);
  REQUIRE(cudaStreamSynchronize(s) == cudaSuccess);
  CHECK(log == std::vector<int>{1, 2, cudaErrorNotPermitted, 3});
}

TEST_CASE("handles that are nobody's are refused") {
  const Reset reset;
  const cudaStream_t s = NewStream();
  const cudaEvent_t e = NewEvent();
  std::vector<int> log;
  Append(s, &log, 1);
  REQUIRE(cudaStreamDestroy(s) == cudaSuccess);
  REQUIRE(cudaEventDestroy(e) == cudaSuccess);
  CHECK(cudaStreamSynchronize(s) == cudaErrorInvalidResourceHandle);
  CHECK(cudaStreamDestroy(s) == cudaErrorInvalidResourceHandle);
  CHECK(cudaEventQuery(e) == cudaErrorInvalidResourceHandle);
  CHECK(cudaEventDestroy(e) == cudaErrorInvalidResourceHandle);
  CHECK(simt::Enqueue(s, [] {}) == cudaErrorInvalidResourceHandle);
  CHECK(cudaGetLastError() == cudaErrorInvalidResourceHandle);
  REQUIRE(cudaDeviceSynchronize() == cudaSuccess);  // what was queued on it has run
  CHECK(log == std::vector<int>{1});
}

TEST_CASE("threads queue and wait at the same time") {
  const Reset reset;
  constexpr int kEach = 200;
  std::atomic<int> done = 0;
  auto work = [&] {
    cudaStream_t s = nullptr;
    cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking);
    int own = 0;  // only ever touched by this stream's work
    for (int i = 0; i < kEach; ++i) {
      simt::Enqueue(s, [&] { done += ++own == i + 1 ? 1 : 0; });
      cudaStreamSynchronize(s);
      if (i % 2 == 0) cudaStreamQuery(nullptr);
    }
    cudaStreamDestroy(s);
  };
  std::thread other(work);
  work();
  other.join();
  CHECK(done == 2 * kEach);
}

TEST_CASE("work after a failure is dropped, and the host is not left waiting") {
  const Reset reset;
  const cudaStream_t s = NewStream();
  const cudaEvent_t e = NewEvent();
  std::vector<int> log;
  REQUIRE(simt::Enqueue(s, [] { simt::FailDevice("lost"); }) == cudaSuccess);
  Append(s, &log, 1);
  REQUIRE(cudaEventRecord(e, s) == cudaSuccess);
  CHECK(cudaEventSynchronize(e) == cudaErrorLaunchFailure);
  CHECK(cudaEventQuery(e) == cudaErrorLaunchFailure);
  CHECK(log.empty());
  CHECK(simt::LastError() == "lost");
}

}  // namespace lynx::testing
