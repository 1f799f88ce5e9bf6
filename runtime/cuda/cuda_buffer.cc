#include "runtime/cuda/cuda_buffer.h"

namespace lynx::cuda {

absl::StatusOr<void*> AllocateMemory(MemoryKind kind, size_t bytes) {
  void* memory = nullptr;
  const bool device = kind == MemoryKind::kDevice;
  const cudaError_t error =
      device ? cudaMalloc(&memory, bytes) : cudaHostAlloc(&memory, bytes, cudaHostAllocDefault);
  RETURN_IF_ERROR(ToStatus(error, absl::StrCat("cannot allocate ", bytes, " bytes of ",
                                               device ? "device" : "pinned host", " memory")));
  return memory;
}

void FreeMemory(MemoryKind kind, void* memory) {
  if (kind == MemoryKind::kDevice) {
    cudaFree(memory);
  } else {
    cudaFreeHost(memory);
  }
}

}  // namespace lynx::cuda
