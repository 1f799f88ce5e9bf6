// The state of the fake runtime. Used by fake_*.cc only.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fake_cuda.h"
#include "fake_fault.h"
#include "fake_memory.h"

namespace simt::fake {

// One recording of an event: done when the stream has come to it.
struct Record {
  bool done = false;
  std::weak_ptr<CUstream_st> stream;
  std::chrono::steady_clock::time_point time;
};

struct Operation {
  std::function<Step()> work;       // may be empty
  std::shared_ptr<Record> wait;     // to be done first, or nullptr
  std::shared_ptr<Record> records;  // done with this operation, or nullptr
};

// An operation of a graph, and the nodes that must be done before it.
struct Node {
  std::function<Step()> work;
  std::vector<size_t> after;
};

struct Capture {
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  CUstream_st* origin = nullptr;
  std::vector<Node> nodes;
  bool invalid = false;
};

}  // namespace simt::fake

struct CUstream_st {
  bool blocking = false;  // ordered with the legacy default stream
  int priority = 0;
  std::deque<simt::fake::Operation> operations;
  bool running = false;                          // the first operation is being run by some thread
  std::shared_ptr<simt::fake::Capture> capture;  // while captured
  std::vector<size_t> capture_tail;              // the nodes that the next one comes after
};

struct CUevent_st {
  bool timing = true;
  std::shared_ptr<simt::fake::Record> last;      // nullptr: never recorded
  std::shared_ptr<simt::fake::Capture> capture;  // recorded in this one
  std::vector<size_t> capture_tail;
};

struct CUgraph_st {
  std::vector<simt::fake::Node> nodes;
};
struct CUgraphExec_st {
  std::vector<simt::fake::Node> nodes;
};

namespace simt::fake {

using Lock = std::unique_lock<std::mutex>;

struct World {
  // Guards everything here; never held while an operation runs.
  std::mutex mutex;
  std::condition_variable changed;  // an operation has ended
  DeviceOptions options;
  uint64_t random = 0;
  std::shared_ptr<CUstream_st> legacy = std::make_shared<CUstream_st>();
  std::map<CUstream_st*, std::shared_ptr<CUstream_st>> streams;
  std::vector<std::shared_ptr<CUstream_st>> retired;  // destroyed with work left
  std::set<CUevent_st*> events;
  std::set<std::shared_ptr<Capture>> captures;
  DeviceMemory memory;
  PinnedMemory pinned;
  std::map<std::string, uint64_t> calls;                   // of functions, by name
  std::set<std::pair<std::string, const void*>> launched;  // kernels
  // Held while an operation runs, but for BlockingRegion.
  std::mutex device;
};
World& TheWorld();

// ---- fake_call.cc

// The error that every function returns for now, or cudaSuccess.
cudaError_t StandingError(const World& w);

enum class Rules {
  kNormal,   // not done while there is a standing error
  kCleanup,  // done even then
};
// Runs body(world, lock) with the world's lock, unless an error stands, and reports the result.
// `name`: the function that is called.
template <class F>
cudaError_t Call(F body, Rules rules = Rules::kNormal, const char* name = __builtin_FUNCTION()) {
  World& w = TheWorld();
  Lock lock(w.mutex);
  ++w.calls[name];
  EnsureFaultHandler(w.memory);
  const cudaError_t refused = StandingError(w);
  if (refused != cudaSuccess && rules == Rules::kNormal) return Report(refused);
  const cudaError_t result = body(w, lock);
  return Report(result != cudaSuccess ? result : StandingError(w));
}

// While it lives this thread runs a host function, which may not call CUDA.
class HostFunctionScope {
 public:
  HostFunctionScope();
  ~HostFunctionScope();
};

// ---- fake_stream.cc: all with the world's lock

// nullptr: no such stream.
std::shared_ptr<CUstream_st> FindStream(World& w, cudaStream_t handle);
// Queues, or adds to the capture that the stream is part of.
void Add(World& w, Lock& lock, CUstream_st& s, Operation operation);

// ---- fake_run.cc: all with the world's lock, which they let go while operations run

// Runs operations until `done()`: those of `s` and what they wait for.
void RunUntil(World& w, Lock& lock, CUstream_st& s, const std::function<bool()>& done);
void Drain(World& w, Lock& lock, CUstream_st& s);
void DrainAll(World& w, Lock& lock);
// Some operations of some streams.
void Poll(World& w, Lock& lock);
// What an immediate device does at once.
void RunWhatCan(World& w, Lock& lock, CUstream_st& s);
uint64_t NextRandom(World& w);

// ---- fake_graph.cc

// The stream's capture ends with an error: something was called that no graph can hold.
cudaError_t Invalidate(CUstream_st& s);
// For functions that concern the whole device.
cudaError_t InvalidateAll(World& w);
void AddNode(CUstream_st& s, std::function<Step()> work);

}  // namespace simt::fake
