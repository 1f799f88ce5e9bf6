// Pages of one layer on the device, of every kind, for the bench.
#pragma once

#include <vector>

#include "bench/cuda/gpu_bench.h"
#include "kernels/cuda/kv_pages.h"
#include "kernels/cuda/kv_split.h"
#include "kernels/kv_split.h"

namespace lynx::bench {

class GpuPages {
 public:
  // `count` pages of random numbers. `code`: their code too, made by SplitPages.
  static absl::StatusOr<GpuPages> Create(KvShape shape, KvSplit split, int64_t count, bool code,
                                         cudaStream_t stream);

  KvShape shape() const { return shape_; }
  KvSplit split() const { return split_; }
  int64_t count() const { return count_; }
  std::byte* bf16_page(int64_t page) const {
    return reinterpret_cast<std::byte*>(numbers_.data()) +
           static_cast<size_t>(page) * Bf16PageBytes(shape_);
  }
  std::byte* anchor(int64_t page) const {
    return At(anchor_, AnchorBlockBytes(shape_, split_), page);
  }
  std::byte* residual(int64_t page) const {
    return At(residual_, ResidualBlockBytes(shape_, split_), page);
  }
  // The jobs of SplitPages for all pages, and the call.
  const cuda::SplitPagesParams& split_params() const { return split_params_; }

  // All pages as one view of a kind.
  std::vector<cuda::PageRef> Refs(KvPageKind kind) const;
  double PageBytes(KvPageKind kind) const;

 private:
  static std::byte* At(const cuda::DeviceBuffer<std::byte>& memory, size_t bytes, int64_t page) {
    return memory.data() + static_cast<size_t>(page) * bytes;
  }
  absl::Status MakeCode(cudaStream_t stream);

  KvShape shape_;
  KvSplit split_;
  int64_t count_ = 0;
  cuda::DeviceBuffer<bf16> numbers_;
  cuda::DeviceBuffer<std::byte> anchor_, residual_;
  cuda::DeviceBuffer<cuda::SplitPageJob> jobs_;
  cuda::DeviceBuffer<int32_t> raw_;
  cuda::SplitPagesParams split_params_;
};

}  // namespace lynx::bench
