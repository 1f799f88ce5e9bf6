#include "runtime/cuda/cuda_handles.h"

namespace lynx::cuda {

absl::StatusOr<UniqueStream> NewStream() {
  cudaStream_t stream = nullptr;
  RETURN_IF_ERROR(ToStatus(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking),
                           "cannot create a CUDA stream"));
  return UniqueStream(stream);
}

absl::StatusOr<UniqueEvent> NewEvent() {
  cudaEvent_t event = nullptr;
  RETURN_IF_ERROR(
      ToStatus(cudaEventCreateWithFlags(&event, cudaEventDisableTiming | cudaEventBlockingSync),
               "cannot create a CUDA event"));
  return UniqueEvent(event);
}

}  // namespace lynx::cuda
