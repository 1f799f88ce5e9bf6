// KvOps on a GPU. What a data plane waits for, coding and packing, has a stream of its own, so that
// it goes on beside the rest of the pass that wrote the pages; what passes wait for is queued on
// theirs. Each is queued behind what the other stream has been given before it.
//
// What Restore and Unpack read may lie where they write; it is copied aside first, into memory
// that is taken once. Batches that need more of it go in parts.
//
// Thread: the engine thread.
#pragma once

#include <cuda_runtime_api.h>

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "model/cuda/pinned_scratch.h"
#include "model/kv_ops.h"
#include "runtime/cuda/cuda_buffer.h"
#include "runtime/cuda/cuda_handles.h"

namespace lynx::cuda {

class CudaKvOps final : public KvOps {
 public:
  // `passes`: their stream; outlives this. aside_bytes: at least a BF16 page. RESOURCE_EXHAUSTED:
  // there is not so much memory. Takes the pinned memory and the events that most batches need;
  // only the largest ones make it grow.
  static absl::StatusOr<std::unique_ptr<CudaKvOps>> Create(cudaStream_t passes, size_t aside_bytes);
  ~CudaKvOps() override;

  void Code(KvShape shape, KvSplit split, std::span<CodeJob> jobs) override;
  void Pack(KvShape shape, std::span<const lynx::PackJob> jobs) override;
  void Unpack(KvShape shape, std::span<const UnpackJob> jobs) override;
  void Restore(KvShape shape, KvSplit split, std::span<RestoreJob> jobs) override;
  void Copy(std::byte* to, const std::byte* from, size_t bytes) override;
  Mark Now() override;
  void WaitFor(Mark mark) override;

 private:
  // What brings results into jobs, once the work before `mark` is done.
  struct Pending {
    Mark mark{};
    UniqueEvent event;
    std::vector<std::function<void()>> collect;
  };

  // Memory aside from blocks, filled from its beginning by what one launch reads.
  class Aside;

  explicit CudaKvOps(cudaStream_t passes) : passes_(passes) {}
  void Order(cudaStream_t earlier, cudaStream_t later);
  // The stream for a job, behind all that was queued before.
  cudaStream_t ForCoding();
  cudaStream_t ForPasses();

  void EncodeTails(KvShape shape, KvSplit split, std::span<CodeJob> jobs,
                   std::span<const int32_t> raw);
  // As many of the jobs as go at once; returns how many.
  size_t UnpackSome(KvShape shape, std::span<const UnpackJob> jobs);
  size_t RestoreSome(KvShape shape, KvSplit split, std::span<const RestoreJob> jobs,
                     std::span<int32_t> bad);
  UniqueEvent TakeEvent();

  const cudaStream_t passes_;
  UniqueStream coding_;
  UniqueEvent order_;
  DeviceBuffer<std::byte> aside_;
  PinnedScratch scratch_;
  std::vector<std::function<void()>> collect_;  // of work behind the last mark
  std::deque<Pending> pending_;                 // oldest first
  std::vector<UniqueEvent> idle_events_;
  uint64_t last_mark_ = 0;
  bool unmarked_ = false;       // a job was queued behind the last mark
  bool passes_behind_ = false;  // their stream does not wait yet for all coding before
};

}  // namespace lynx::cuda
