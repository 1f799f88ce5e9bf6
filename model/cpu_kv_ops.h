// KvOps on the CPU: everything is done in the call.
#pragma once

#include "kernels/ops.h"
#include "model/kv_ops.h"
#include "runtime/thread_pool.h"

namespace lynx {

class CpuKvOps final : public KvOps {
 public:
  // Both outlive this. Thread: the pool's owner.
  CpuKvOps(const Kernels& kernels, ThreadPool& pool) : kernels_(kernels), pool_(pool) {}

  void Code(KvShape shape, KvSplit split, std::span<CodeJob> jobs) override;
  void Pack(KvShape shape, std::span<const PackJob> jobs) override;
  void Unpack(KvShape shape, std::span<const UnpackJob> jobs) override;
  void Restore(KvShape shape, KvSplit split, std::span<RestoreJob> jobs) override;
  void Copy(std::byte* to, const std::byte* from, size_t bytes) override;
  Mark Now() override { return {}; }
  void WaitFor(Mark) override {}

 private:
  void CodePage(KvShape shape, KvSplit split, CodeJob& job) const;
  void RestorePage(KvShape shape, KvSplit split, RestoreJob& job) const;

  const Kernels& kernels_;
  ThreadPool& pool_;
};

}  // namespace lynx
