// The CUDA runtime as tests see it. The functions of cuda_runtime_api.h that the project calls are
// defined here (fake_*.cc) instead of in libcudart; one that is missing is an error of the linker.
//
// Streams are lazy: work is queued, and runs only when a thread synchronizes or polls, on that
// thread. A synchronization runs what it must wait for and nothing else, a poll moves a random
// choice of streams by one operation. So a wait that is missing shows on the first run. One
// operation runs at a time in the process.
//
// Host code that touches device memory dies with a message: only operations may (see
// DeviceOptions::guard). Host memory, on the other hand, is accessible to kernels: passing a host
// pointer to one does not show.
//
// All functions may be called from any thread.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>

namespace simt {

// ---- for the fakes of other libraries (cuBLASLt, NCCL)

enum class Step {
  kDone,
  kAgain,  // nothing to do just now: call again later
};

// Queues an operation. It runs on whichever thread synchronizes or polls; device memory is
// accessible to it; it may queue more, but not synchronize. The stream's next operation starts when
// it returns. In a stream that is being captured it becomes a node of the graph, and each launch of
// the graph runs a fresh copy of it. Errors: as CUDA's own asynchronous functions (invalid stream,
// an earlier kernel's failure).
cudaError_t Enqueue(cudaStream_t stream, std::function<void()> work);

// The same for what has to wait for another process. `work` must not block: it does what it can and
// returns kAgain until it is finished. While a synchronization waits for it, all other streams move
// on, as they would on a device.
cudaError_t EnqueuePolled(cudaStream_t stream, std::function<Step()> work);

// Within an operation that must block after all (in a socket, say): while it lives, operations of
// other streams may run on other threads. Device memory stays accessible.
class BlockingRegion {
 public:
  BlockingRegion();
  ~BlockingRegion();
  BlockingRegion(const BlockingRegion&) = delete;
  BlockingRegion& operator=(const BlockingRegion&) = delete;
};

// From within an operation: the device has failed. What LastError() then says is `text`.
void FailDevice(const char* text);

// All of [p, p + bytes) is one allocation of cudaMalloc.
bool IsDeviceMemory(const void* p, size_t bytes);

// Makes the error known to this thread's cudaGetLastError; returns it.
cudaError_t Report(cudaError_t error);

// ---- for device.cuh

// Checks the configuration, then queues the grid: `thread_body` is called for each of its threads.
// `kernel` is the function that it calls.
cudaError_t QueueLaunch(const char* name, const void* kernel, dim3 grid, dim3 block,
                        size_t smem_bytes, cudaStream_t stream, std::function<void()> thread_body);

// ---- for tests

struct DeviceOptions {
  int devices = 2;                       // 0: cudaErrorNoDevice
  int driver_version = CUDART_VERSION;   // lower: cudaErrorInsufficientDriver
  size_t total_bytes = size_t{1} << 30;  // of each device
  // Work runs in the call that queues it, as far as it can.
  bool immediate = false;
  uint64_t seed = 1;  // which streams a poll moves; the order of a graph's independent nodes
  // Allocations (of device or pinned memory) that succeed before one fails; -1: none fails.
  int64_t allocations_before_failure = -1;
  // The host cannot touch device memory, or, without x86-64's protection keys, the first 16 KiB of
  // each allocation.
  bool guard = true;
};
// At start the options are those of the environment variable SIMT_OPTIONS, for programs that a test
// starts: words with commas between them, "immediate", "unguarded", "no_keys", "no_device",
// "old_driver", "eager_copies", "devices=N", "total_mb=N", "seed=N", "workers=N",
// "fail_allocation=N".
DeviceOptions GetDeviceOptions();
void SetDeviceOptions(const DeviceOptions& options);

// For a new test after a failure: drops all queued work, forgets LastError().
void ResetDevice();

// What is allocated now; for tests that nothing leaks.
size_t AllocatedDeviceBytes();

// How often each function of the runtime was called since the process started, those that are built
// on another one under the other's name; kernels' launches, captured ones too, as "QueueLaunch".
std::map<std::string, uint64_t> CallCounts();

// Kernels that were launched since the last call: name and function, so that instances of a
// template are told apart.
std::set<std::pair<std::string, const void*>> TakeLaunchedKernels();

}  // namespace simt
