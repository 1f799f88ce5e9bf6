// Pinned host memory for what one batch of device work reads and writes: jobs, results. Grows to
// what the largest batch needs and stays.
//
// Thread: the engine thread.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "runtime/cuda/cuda_buffer.h"

namespace lynx::cuda {

class PinnedScratch {
 public:
  // Uninitialised, aligned to 64 bytes; valid until Clear.
  template <typename T>
  std::span<T> Take(size_t count) {
    return {reinterpret_cast<T*>(TakeBytes(count * sizeof(T))), count};
  }
  // Nothing of it is in use any more.
  void Clear();

 private:
  std::byte* TakeBytes(size_t bytes);

  std::vector<PinnedBuffer<std::byte>> chunks_;
  size_t chunk_ = 0;  // that is being filled
  size_t used_ = 0;   // of it
};

}  // namespace lynx::cuda
