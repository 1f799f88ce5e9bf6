#include "model/cuda/pinned_scratch.h"

#include <algorithm>

#include "runtime/cuda/cuda_status.h"

namespace lynx::cuda {
namespace {

constexpr size_t kChunkBytes = size_t{1} << 20;

}  // namespace

std::byte* PinnedScratch::TakeBytes(size_t bytes) {
  bytes = (bytes + 63) / 64 * 64;
  while (chunk_ < chunks_.size() && used_ + bytes > chunks_[chunk_].size()) {
    ++chunk_;
    used_ = 0;
  }
  if (chunk_ == chunks_.size()) {
    auto chunk = PinnedBuffer<std::byte>::Create(std::max(bytes, kChunkBytes));
    Must(chunk.status());
    chunks_.push_back(std::move(*chunk));
  }
  std::byte* taken = chunks_[chunk_].data() + used_;
  used_ += bytes;
  return taken;
}

void PinnedScratch::Clear() { chunk_ = used_ = 0; }

}  // namespace lynx::cuda
