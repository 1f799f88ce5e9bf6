// Owners of CUDA's objects, as large as a pointer.
#pragma once

#include <cuda_runtime_api.h>

#include <utility>

#include "runtime/cuda/cuda_status.h"

namespace lynx::cuda {

// Destroys its handle. What is queued on a stream still runs.
template <typename Handle, cudaError_t (*kDestroy)(Handle)>
class UniqueHandle {
 public:
  UniqueHandle() = default;
  explicit UniqueHandle(Handle handle) : handle_(handle) {}
  ~UniqueHandle() {
    if (handle_ != nullptr) kDestroy(handle_);
  }
  UniqueHandle(UniqueHandle&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  UniqueHandle& operator=(UniqueHandle&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  Handle get() const { return handle_; }

 private:
  Handle handle_ = nullptr;
};

using UniqueStream = UniqueHandle<cudaStream_t, &cudaStreamDestroy>;
using UniqueEvent = UniqueHandle<cudaEvent_t, &cudaEventDestroy>;
using UniqueGraph = UniqueHandle<cudaGraph_t, &cudaGraphDestroy>;
using UniqueGraphExec = UniqueHandle<cudaGraphExec_t, &cudaGraphExecDestroy>;

// A stream that does not wait for the legacy default stream.
absl::StatusOr<UniqueStream> NewStream();
// An event without timing, for orders between streams; the host waits for it without spinning.
absl::StatusOr<UniqueEvent> NewEvent();

}  // namespace lynx::cuda
