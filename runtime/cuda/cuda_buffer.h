// Owning, fixed-size memory: on the device, or on the host where the device and its copy engines
// reach it (pinned).
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <limits>
#include <span>
#include <type_traits>
#include <utility>

#include "runtime/cuda/cuda_status.h"

namespace lynx::cuda {

enum class MemoryKind { kDevice, kPinned };

absl::StatusOr<void*> AllocateMemory(MemoryKind kind, size_t bytes);  // RESOURCE_EXHAUSTED
void FreeMemory(MemoryKind kind, void* memory);

// Uninitialised. Freeing waits for all work of the device, so nothing is made or freed in a step
// loop.
template <typename T, MemoryKind kKind>
class CudaBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  static absl::StatusOr<CudaBuffer> Create(size_t count) {
    CudaBuffer buffer;
    if (count == 0) return buffer;
    if (count > std::numeric_limits<size_t>::max() / sizeof(T)) {
      return absl::ResourceExhaustedError("a buffer's size is no number");
    }
    ASSIGN_OR_RETURN(void* memory, AllocateMemory(kKind, count * sizeof(T)));
    buffer.data_ = static_cast<T*>(memory);
    buffer.size_ = count;
    return buffer;
  }
  CudaBuffer() = default;
  ~CudaBuffer() {
    if (data_ != nullptr) FreeMemory(kKind, data_);
  }
  CudaBuffer(CudaBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  CudaBuffer& operator=(CudaBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }

  T* data() const { return data_; }  // of the device: not to be read or written by the host
  size_t size() const { return size_; }
  size_t bytes() const { return size_ * sizeof(T); }
  std::span<T> span() const requires(kKind == MemoryKind::kPinned) { return {data_, size_}; }

 private:
  T* data_ = nullptr;
  size_t size_ = 0;
};

template <typename T>
using DeviceBuffer = CudaBuffer<T, MemoryKind::kDevice>;
template <typename T>
using PinnedBuffer = CudaBuffer<T, MemoryKind::kPinned>;

}  // namespace lynx::cuda
