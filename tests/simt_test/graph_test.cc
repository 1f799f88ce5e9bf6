#include <catch2/catch.hpp>
#include <memory>
#include <set>
#include <vector>

#include "api.h"
#include "tests/simt_test/device_values.h"

namespace lynx::testing {
namespace {

struct Streams {
  cudaStream_t a = nullptr;
  cudaStream_t b = nullptr;
  cudaEvent_t fork = nullptr;
  cudaEvent_t join = nullptr;
  Streams() {
    for (cudaStream_t* s : {&a, &b}) {
      REQUIRE(cudaStreamCreateWithFlags(s, cudaStreamNonBlocking) == cudaSuccess);
    }
    for (cudaEvent_t* e : {&fork, &join}) {
      REQUIRE(cudaEventCreateWithFlags(e, cudaEventDisableTiming) == cudaSuccess);
    }
  }
  ~Streams() {
    cudaStreamDestroy(a);
    cudaStreamDestroy(b);
    cudaEventDestroy(fork);
    cudaEventDestroy(join);
    simt::ResetDevice();
  }
};

void Append(cudaStream_t s, std::vector<int>* log, int x) {
  REQUIRE(simt::Enqueue(s, [=] { log->push_back(x); }) == cudaSuccess);
}

cudaGraphExec_t Instantiate(cudaGraph_t graph) {
  cudaGraphExec_t exec = nullptr;
  REQUIRE(cudaGraphInstantiate(&exec, graph, 0) == cudaSuccess);
  REQUIRE(cudaGraphDestroy(graph) == cudaSuccess);
  return exec;
}

}  // namespace

TEST_CASE("a captured stream is recorded, and replayed with what it was given") {
  const Streams s;
  const DeviceValues<int> x(2, 0);
  cudaStreamCaptureStatus status{};
  REQUIRE(cudaStreamBeginCapture(s.a, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
  REQUIRE(cudaStreamIsCapturing(s.a, &status) == cudaSuccess);
  CHECK(status == cudaStreamCaptureStatusActive);
  int add = 5;
  int* data = x.data();
  REQUIRE(simt::Enqueue(s.a, [=] { data[0] += add; }) == cudaSuccess);
  REQUIRE(cudaMemcpyAsync(data + 1, data, 4, cudaMemcpyDeviceToDevice, s.a) == cudaSuccess);
  add = 100;
  cudaGraph_t graph = nullptr;
  REQUIRE(cudaStreamEndCapture(s.a, &graph) == cudaSuccess);
  size_t nodes = 0;
  REQUIRE(cudaGraphGetNodes(graph, nullptr, &nodes) == cudaSuccess);
  CHECK(nodes == 2);
  CHECK(x.Read() == std::vector<int>{0, 0});  // nothing has run
  const cudaGraphExec_t exec = Instantiate(graph);
  for (int i = 1; i <= 3; ++i) {
    REQUIRE(cudaGraphLaunch(exec, s.b) == cudaSuccess);
    REQUIRE(cudaStreamSynchronize(s.b) == cudaSuccess);
    CHECK(x.Read() == std::vector<int>{5 * i, 5 * i});
  }
  // In the order of the stream, and still valid when the graph is gone.
  REQUIRE(cudaGraphLaunch(exec, s.a) == cudaSuccess);
  REQUIRE(cudaMemsetAsync(data, 0, 4, s.a) == cudaSuccess);
  REQUIRE(cudaGraphExecDestroy(exec) == cudaSuccess);
  REQUIRE(cudaStreamSynchronize(s.a) == cudaSuccess);
  CHECK(x.Read() == std::vector<int>{0, 20});
}

TEST_CASE("a capture follows events to other streams; branches run in any order") {
  const Streams s;
  std::vector<int> log;
  REQUIRE(cudaStreamBeginCapture(s.a, cudaStreamCaptureModeGlobal) == cudaSuccess);
  Append(s.a, &log, 0);
  REQUIRE(cudaEventRecord(s.fork, s.a) == cudaSuccess);
  REQUIRE(cudaStreamWaitEvent(s.b, s.fork, 0) == cudaSuccess);
  Append(s.a, &log, 1);
  Append(s.b, &log, 2);
  CHECK(cudaEventQuery(s.fork) == cudaErrorCapturedEvent);
  REQUIRE(cudaEventRecord(s.join, s.b) == cudaSuccess);
  REQUIRE(cudaStreamWaitEvent(s.a, s.join, 0) == cudaSuccess);
  Append(s.a, &log, 3);
  cudaGraph_t graph = nullptr;
  REQUIRE(cudaStreamEndCapture(s.a, &graph) == cudaSuccess);
  const cudaGraphExec_t exec = Instantiate(graph);
  std::set<std::vector<int>> orders;
  for (int i = 0; i < 40; ++i) {
    log.clear();
    REQUIRE(cudaGraphLaunch(exec, s.a) == cudaSuccess);
    REQUIRE(cudaStreamSynchronize(s.a) == cudaSuccess);
    orders.insert(log);
  }
  CHECK(orders == std::set<std::vector<int>>{{0, 1, 2, 3}, {0, 2, 1, 3}});
  cudaGraphExecDestroy(exec);
  Append(s.b, &log, 4);  // no longer captured
  REQUIRE(cudaStreamSynchronize(s.b) == cudaSuccess);
  CHECK(log.back() == 4);
}

TEST_CASE("an operation that waits for others has a state of its own in each launch") {
  const Streams s;
  REQUIRE(cudaStreamBeginCapture(s.a, cudaStreamCaptureModeRelaxed) == cudaSuccess);
  int done = 0;
  REQUIRE(simt::EnqueuePolled(s.a, [&done, left = 3]() mutable {
            if (--left > 0) return simt::Step::kAgain;
            ++done;
            return simt::Step::kDone;
          }) == cudaSuccess);
  cudaGraph_t graph = nullptr;
  REQUIRE(cudaStreamEndCapture(s.a, &graph) == cudaSuccess);
  const cudaGraphExec_t exec = Instantiate(graph);
  for (int i = 1; i <= 2; ++i) {
    REQUIRE(cudaGraphLaunch(exec, s.a) == cudaSuccess);
    REQUIRE(cudaStreamSynchronize(s.a) == cudaSuccess);
    CHECK(done == i);
  }
  cudaGraphExecDestroy(exec);
}

TEST_CASE("what no graph can hold ends the capture with an error") {
  const Streams s;
  cudaGraph_t graph = nullptr;
  CHECK(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeGlobal) ==
        cudaErrorStreamCaptureUnsupported);
  CHECK(cudaStreamEndCapture(s.a, &graph) == cudaErrorIllegalState);

  auto invalidated_by = [&](auto call) {
    REQUIRE(cudaStreamBeginCapture(s.a, cudaStreamCaptureModeGlobal) == cudaSuccess);
    const cudaError_t error = call();
    CHECK(cudaStreamEndCapture(s.a, &graph) == cudaErrorStreamCaptureInvalidated);
    CHECK(graph == nullptr);
    return error;
  };
  CHECK(invalidated_by([&] { return cudaStreamSynchronize(s.a); }) ==
        cudaErrorStreamCaptureUnsupported);
  CHECK(invalidated_by([&] { return cudaStreamQuery(s.a); }) == cudaErrorStreamCaptureUnsupported);
  CHECK(invalidated_by([&] { return cudaDeviceSynchronize(); }) ==
        cudaErrorStreamCaptureUnsupported);
  void* p = nullptr;
  CHECK(invalidated_by([&] { return cudaMalloc(&p, 16); }) == cudaErrorStreamCaptureUnsupported);
  const DeviceValues<int> x(1, 0);
  int host = 0;
  CHECK(invalidated_by([&] {
          return cudaMemcpyAsync(x.data(), &host, 4, cudaMemcpyHostToDevice, s.a);
        }) == cudaErrorStreamCaptureUnsupported);

  std::vector<int> log;
  REQUIRE(cudaStreamBeginCapture(s.a, cudaStreamCaptureModeGlobal) == cudaSuccess);
  Append(s.a, &log, 1);
  REQUIRE(cudaEventRecord(s.fork, s.a) == cudaSuccess);
  REQUIRE(cudaStreamWaitEvent(s.b, s.fork, 0) == cudaSuccess);
  Append(s.b, &log, 2);
  CHECK(cudaStreamEndCapture(s.b, &graph) == cudaErrorStreamCaptureUnmatched);
  CHECK(cudaStreamEndCapture(s.a, &graph) == cudaErrorStreamCaptureUnjoined);
  cudaGetLastError();
}

}  // namespace lynx::testing
