#include "bench/cuda/gpu_pages.h"

namespace lynx::bench {

using cuda::DeviceBuffer;
using cuda::ToStatus;

absl::StatusOr<GpuPages> GpuPages::Create(KvShape shape, KvSplit split, int64_t count, bool code,
                                          cudaStream_t stream) {
  GpuPages pages;
  pages.shape_ = shape;
  pages.split_ = split;
  pages.count_ = count;
  const auto values = static_cast<int64_t>(Bf16PageBytes(shape) / sizeof(bf16));
  ASSIGN_OR_RETURN(pages.numbers_, RandomBf16s(count * values, stream));
  if (code) {
    RETURN_IF_ERROR(pages.MakeCode(stream));
  }
  return pages;
}

absl::Status GpuPages::MakeCode(cudaStream_t stream) {
  const auto pages = static_cast<size_t>(count_);
  ASSIGN_OR_RETURN(anchor_,
                   DeviceBuffer<std::byte>::Create(pages * AnchorBlockBytes(shape_, split_)));
  ASSIGN_OR_RETURN(residual_,
                   DeviceBuffer<std::byte>::Create(pages * ResidualBlockBytes(shape_, split_)));
  ASSIGN_OR_RETURN(raw_, DeviceBuffer<int32_t>::Create(pages));
  std::vector<cuda::SplitPageJob> jobs;
  for (int64_t page = 0; page < count_; ++page) {
    jobs.push_back({.page = bf16_page(page),
                    .anchor = anchor(page),
                    .residual = residual(page),
                    .first_token = page == 0 ? kSinkTokens : 0});
  }
  ASSIGN_OR_RETURN(jobs_, OnDevice(jobs, stream));
  split_params_ = {
      .shape = shape_, .split = split_, .jobs = jobs_.data(), .count = count_, .raw = raw_.data()};
  RETURN_IF_ERROR(ToStatus(cuda::SplitPages(split_params_, stream), "kv_split"));
  return ToStatus(cudaStreamSynchronize(stream), "kv_split");
}

std::vector<cuda::PageRef> GpuPages::Refs(KvPageKind kind) const {
  std::vector<cuda::PageRef> refs;
  for (int64_t page = 0; page < count_; ++page) {
    refs.push_back({.data = kind == KvPageKind::kBf16 ? bf16_page(page) : anchor(page),
                    .residual = kind == KvPageKind::kFull ? residual(page) : nullptr,
                    .kind = cuda::KindOf(kind)});
  }
  return refs;
}

double GpuPages::PageBytes(KvPageKind kind) const {
  if (kind == KvPageKind::kBf16) return static_cast<double>(Bf16PageBytes(shape_));
  const size_t residual = kind == KvPageKind::kFull ? ResidualBlockBytes(shape_, split_) : 0;
  return static_cast<double>(AnchorBlockBytes(shape_, split_) + residual);
}

}  // namespace lynx::bench
