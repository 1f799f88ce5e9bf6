// What a batch of rows to sample tells the device and what comes back: each is built in pinned
// memory of fixed size and crosses in one copy.
//
// Thread: the engine thread. Nothing here waits: the caller does, between a batch and the next.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/cuda/logprobs.h"
#include "kernels/cuda/sample.h"
#include "runtime/cuda/cuda_buffer.h"
#include "runtime/status.h"

namespace lynx::cuda {

class SampleInputs {
 public:
  // A list in both memories, aligned to kListAlign.
  template <typename T>
  struct List {
    std::span<T> host{};
    const T* device = nullptr;  // [host.size()]
  };
  static constexpr size_t kListAlign = 16;
  template <typename T>
  static constexpr size_t ListBytes(int64_t count) {
    return (static_cast<size_t>(count) * sizeof(T) + kListAlign - 1) / kListAlign * kListAlign;
  }
  static size_t BytesNeeded(int64_t rows_max, size_t list_bytes);

  // RESOURCE_EXHAUSTED. A batch may have `rows_max` rows and lists of `list_bytes` in all.
  static absl::StatusOr<SampleInputs> Create(int64_t rows_max, size_t list_bytes);

  // An empty batch with room for `rows` rows, rows_max at most.
  void Begin(int64_t rows);
  int64_t rows() const { return rows_; }
  bool HasRoomForRow() const { return rows_ < rows_end_; }
  bool HasRoomForLists(size_t bytes) const { return lists_end_ + bytes <= host_.size(); }

  // There must be room. The list is the caller's to fill.
  template <typename T>
  List<T> AddList(int64_t count) {
    static_assert(kListAlign % alignof(T) == 0);
    const size_t at = lists_end_;
    LYNX_CHECK(HasRoomForLists(ListBytes<T>(count)));
    lists_end_ += ListBytes<T>(count);
    return {{reinterpret_cast<T*>(host_.data() + at), static_cast<size_t>(count)},
            reinterpret_cast<const T*>(device_.data() + at)};
  }
  // `row`: of the pass.
  void AddRow(int32_t row, const SampleRow& request, const LogprobRow& logprobs);

  // Of row i of the batch, as it was added.
  const LogprobRow& logprobs(int64_t i) const { return Host<LogprobRow>(logprobs_begin_)[i]; }

  void QueueCopy(cudaStream_t stream) const;
  // Device memory, from row i of the batch on.
  const int32_t* DeviceRows(int64_t i) const { return Device<int32_t>(0) + i; }
  const SampleRow* DeviceRequests(int64_t i) const {
    return Device<SampleRow>(requests_begin_) + i;
  }
  const LogprobRow* DeviceLogprobs(int64_t i) const {
    return Device<LogprobRow>(logprobs_begin_) + i;
  }

 private:
  template <typename T>
  T* Host(size_t begin) const {
    return reinterpret_cast<T*>(host_.data() + begin);
  }
  template <typename T>
  const T* Device(size_t begin) const {
    return reinterpret_cast<const T*>(device_.data() + begin);
  }

  PinnedBuffer<std::byte> host_;
  DeviceBuffer<std::byte> device_;
  int64_t rows_ = 0, rows_end_ = 0;
  // Where arrays begin: the rows' numbers, which begin at 0, requests, what log-probabilities are
  // wanted, then lists up to lists_end_.
  size_t requests_begin_ = 0, logprobs_begin_ = 0, lists_end_ = 0;
};

class SampleOutputs {
 public:
  static size_t BytesNeeded(int64_t rows_max, int64_t top_max);
  static absl::StatusOr<SampleOutputs> Create(int64_t rows_max, int64_t top_max);

  // For the results of so many rows, and of so many of their most likely tokens in all.
  void Begin(int64_t rows, int64_t top);
  void QueueCopy(cudaStream_t stream) const;

  // One array in one memory.
  struct Arrays {
    double* margins = nullptr;       // [rows]
    double* logprobs = nullptr;      // [rows]
    TopLogprobEntry* top = nullptr;  // [top]
    int32_t* ids = nullptr;          // [rows]
    int32_t* top_counts = nullptr;   // [rows]
    uint8_t* invalid = nullptr;      // [rows]
  };
  Arrays device() const { return At(device_.data()); }
  Arrays host() const { return At(host_.data()); }  // once the copy is done

 private:
  Arrays At(std::byte* base) const;

  PinnedBuffer<std::byte> host_;
  DeviceBuffer<std::byte> device_;
  int64_t rows_ = 0, top_ = 0;
};

}  // namespace lynx::cuda
