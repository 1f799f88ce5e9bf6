// KvOps on a GPU: jobs are queued on the stream of the passes.
//
// Thread: the engine thread.
#pragma once

#include <cuda_runtime_api.h>

#include <deque>
#include <functional>
#include <vector>

#include "model/cuda/pinned_scratch.h"
#include "model/kv_ops.h"
#include "runtime/cuda/cuda_handles.h"

namespace lynx::cuda {

class CudaKvOps final : public KvOps {
 public:
  // The stream outlives this.
  explicit CudaKvOps(cudaStream_t stream) : stream_(stream) {}
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

  void EncodeTails(KvShape shape, KvSplit split, std::span<CodeJob> jobs,
                   std::span<const int32_t> raw);
  UniqueEvent TakeEvent();

  const cudaStream_t stream_;
  PinnedScratch scratch_;
  std::vector<std::function<void()>> collect_;  // of work behind the last mark
  std::deque<Pending> pending_;                 // oldest first
  std::vector<UniqueEvent> idle_events_;
  uint64_t last_mark_ = 0;
  bool unmarked_ = false;  // work was queued behind the last mark
};

}  // namespace lynx::cuda
