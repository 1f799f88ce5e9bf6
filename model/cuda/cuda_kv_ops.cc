#include "model/cuda/cuda_kv_ops.h"

#include <algorithm>
#include <utility>

#include "kernels/cuda/kv_pack.h"
#include "kernels/cuda/kv_split.h"
#include "kernels/cuda/kv_tail.h"
#include "model/kv_pool.h"

namespace lynx::cuda {
namespace {

constexpr size_t kScratchBytes = size_t{4} << 20;
constexpr size_t kEvents = 128;  // marks that have not been waited for: one a layer

}  // namespace

// Launches follow one another on the stream, so that each may have all of the memory.
class CudaKvOps::Aside {
 public:
  Aside(const DeviceBuffer<std::byte>& memory, cudaStream_t stream)
      : memory_(memory), stream_(stream) {}

  // Where to read `data` while `out` is written: where it lies, or a copy if that is at `out`.
  // Null: there is no room left for one.
  const std::byte* Move(std::span<const std::byte> data, const std::byte* out) {
    if (data.data() != out) return data.data();
    if (data.size() > memory_.size() - used_) return nullptr;
    std::byte* copy = memory_.data() + used_;
    Must(cudaMemcpyAsync(copy, data.data(), data.size(), cudaMemcpyDefault, stream_),
         "cannot move a block aside");
    used_ = std::min(memory_.size(), KvPool::RoundUp(used_ + data.size()));
    return copy;
  }

 private:
  const DeviceBuffer<std::byte>& memory_;
  const cudaStream_t stream_;
  size_t used_ = 0;
};

absl::StatusOr<std::unique_ptr<CudaKvOps>> CudaKvOps::Create(cudaStream_t passes,
                                                             size_t aside_bytes) {
  std::unique_ptr<CudaKvOps> ops(new CudaKvOps(passes));
  ASSIGN_OR_RETURN(ops->coding_, NewStream());
  ASSIGN_OR_RETURN(ops->order_, NewEvent());
  ASSIGN_OR_RETURN(ops->aside_, DeviceBuffer<std::byte>::Create(aside_bytes));
  ops->scratch_.Take<std::byte>(kScratchBytes);
  ops->scratch_.Clear();
  for (size_t i = 0; i < kEvents; ++i) {
    ASSIGN_OR_RETURN(ops->idle_events_.emplace_back(), NewEvent());
  }
  return ops;
}

CudaKvOps::~CudaKvOps() {
  cudaStreamSynchronize(coding_.get());
  cudaStreamSynchronize(passes_);
}

// What is queued on `later` from now on begins when all that `earlier` has now is done. One event
// serves for every order: a wait is for the event's last record before it.
void CudaKvOps::Order(cudaStream_t earlier, cudaStream_t later) {
  Must(cudaEventRecord(order_.get(), earlier), "cannot record an event");
  Must(cudaStreamWaitEvent(later, order_.get(), 0), "cannot wait for an event");
}

cudaStream_t CudaKvOps::ForCoding() {
  Order(passes_, coding_.get());
  passes_behind_ = unmarked_ = true;
  return coding_.get();
}

cudaStream_t CudaKvOps::ForPasses() {
  if (std::exchange(passes_behind_, false)) Order(coding_.get(), passes_);
  unmarked_ = true;
  return passes_;
}

void CudaKvOps::Code(KvShape shape, KvSplit split, std::span<CodeJob> jobs) {
  if (jobs.empty()) return;
  const std::span device = scratch_.Take<SplitPageJob>(jobs.size());
  const std::span raw = scratch_.Take<int32_t>(jobs.size());
  for (size_t i = 0; i < jobs.size(); ++i) {
    device[i] = {.page = jobs[i].page,
                 .anchor = jobs[i].anchor,
                 .residual = jobs[i].residual,
                 .first_token = jobs[i].first_token};
  }
  Must(SplitPages({.shape = shape,
                   .split = split,
                   .jobs = device.data(),
                   .count = static_cast<int64_t>(jobs.size()),
                   .raw = raw.data()},
                  ForCoding()),
       "cannot code pages");
  collect_.emplace_back([jobs, raw] {
    for (size_t i = 0; i < jobs.size(); ++i) {
      jobs[i].result = raw[i] != 0 ? SplitResult::kRaw : SplitResult::kCode;
    }
  });
  if (jobs[0].tail != nullptr) EncodeTails(shape, split, jobs, raw);
}

void CudaKvOps::EncodeTails(KvShape shape, KvSplit split, std::span<CodeJob> jobs,
                            std::span<const int32_t> raw) {
  const std::span device = scratch_.Take<TailEncodeJob>(jobs.size());
  const std::span bytes = scratch_.Take<uint32_t>(jobs.size());
  for (size_t i = 0; i < jobs.size(); ++i) {
    device[i] = {.page = jobs[i].page,
                 .anchor = jobs[i].anchor,
                 .tail = jobs[i].tail,
                 .first_token = jobs[i].first_token};
  }
  Must(TailEncode({.shape = shape,
                   .split = split,
                   .jobs = device.data(),
                   .count = static_cast<int64_t>(jobs.size()),
                   .bytes = bytes.data()},
                  coding_.get()),
       "cannot encode Tails");
  collect_.emplace_back([jobs, raw, bytes] {
    for (size_t i = 0; i < jobs.size(); ++i) jobs[i].tail_bytes = raw[i] == 0 ? bytes[i] : 0;
  });
}

void CudaKvOps::Pack(KvShape shape, std::span<const lynx::PackJob> jobs) {
  if (jobs.empty()) return;
  const std::span device = scratch_.Take<PackJob>(jobs.size());
  for (size_t i = 0; i < jobs.size(); ++i) {
    device[i] = {.page = const_cast<std::byte*>(jobs[i].page),  // only read
                 .packed = jobs[i].packed,
                 .begin = jobs[i].begin,
                 .end = jobs[i].end};
  }
  Must(PackTokens(
           {.shape = shape, .jobs = device.data(), .count = static_cast<int64_t>(jobs.size())},
           ForCoding()),
       "cannot pack tokens");
}

void CudaKvOps::Unpack(KvShape shape, std::span<const UnpackJob> jobs) {
  while (!jobs.empty()) jobs = jobs.subspan(UnpackSome(shape, jobs));
}

size_t CudaKvOps::UnpackSome(KvShape shape, std::span<const UnpackJob> jobs) {
  const std::span device = scratch_.Take<PackJob>(jobs.size());
  const cudaStream_t stream = ForPasses();
  Aside aside(aside_, stream);
  size_t count = 0;
  for (; count < jobs.size(); ++count) {
    const UnpackJob& job = jobs[count];
    const size_t bytes = (job.end - job.begin) * PackedTokenBytes(shape);
    const std::byte* packed = aside.Move({job.packed, bytes}, job.page);
    if (packed == nullptr) break;
    device[count] = {.page = job.page,
                     .packed = const_cast<std::byte*>(packed),  // only read
                     .begin = job.begin,
                     .end = job.end};
  }
  LYNX_CHECK(count > 0);
  Must(UnpackTokens({.shape = shape, .jobs = device.data(), .count = static_cast<int64_t>(count)},
                    stream),
       "cannot unpack tokens");
  return count;
}

void CudaKvOps::Restore(KvShape shape, KvSplit split, std::span<RestoreJob> jobs) {
  if (jobs.empty()) return;
  const std::span bad = scratch_.Take<int32_t>(jobs.size());
  for (size_t done = 0; done < jobs.size();) {
    done += RestoreSome(shape, split, jobs.subspan(done), bad.subspan(done));
  }
  collect_.emplace_back([jobs, bad] {
    for (size_t i = 0; i < jobs.size(); ++i) jobs[i].fits = bad[i] == 0;
  });
}

size_t CudaKvOps::RestoreSome(KvShape shape, KvSplit split, std::span<const RestoreJob> jobs,
                              std::span<int32_t> bad) {
  const std::span device = scratch_.Take<TailDecodeJob>(jobs.size());
  std::vector<UnpackJob> sinks;
  const cudaStream_t stream = ForPasses();
  Aside aside(aside_, stream);
  size_t count = 0;
  for (; count < jobs.size(); ++count) {
    const RestoreJob& job = jobs[count];
    const std::byte* tail = aside.Move(job.tail, job.page);
    if (tail == nullptr) break;
    device[count] = {.anchor = job.anchor,
                     .residual = job.residual,
                     .tail = tail,
                     .page = job.page,
                     .tail_bytes = static_cast<uint32_t>(job.tail.size()),
                     .first_token = job.first_token};
    if (job.sinks != nullptr) sinks.push_back({job.sinks, 0, job.first_token, job.page});
  }
  LYNX_CHECK(count > 0);
  Must(TailDecode({.shape = shape,
                   .split = split,
                   .jobs = device.data(),
                   .count = static_cast<int64_t>(count),
                   .bad = bad.data()},
                  stream),
       "cannot decode Tails");
  Unpack(shape, sinks);
  return count;
}

void CudaKvOps::Copy(std::byte* to, const std::byte* from, size_t bytes) {
  Must(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, ForPasses()), "cannot copy a block");
}

UniqueEvent CudaKvOps::TakeEvent() {
  if (idle_events_.empty()) {
    auto event = NewEvent();
    Must(event.status());
    return std::move(*event);
  }
  UniqueEvent event = std::move(idle_events_.back());
  idle_events_.pop_back();
  return event;
}

KvOps::Mark CudaKvOps::Now() {
  Pending pending{Mark{++last_mark_}, TakeEvent(), std::exchange(collect_, {})};
  Order(passes_, coding_.get());  // one event stands for both
  Must(cudaEventRecord(pending.event.get(), coding_.get()), "cannot record an event");
  pending_.push_back(std::move(pending));
  unmarked_ = false;
  return Mark{last_mark_};
}

void CudaKvOps::WaitFor(Mark mark) {
  while (!pending_.empty() && pending_.front().mark <= mark) {
    Pending& oldest = pending_.front();
    Must(cudaEventSynchronize(oldest.event.get()), "the device failed");
    for (const auto& collect : oldest.collect) collect();
    idle_events_.push_back(std::move(oldest.event));
    pending_.pop_front();
  }
  if (pending_.empty() && !unmarked_) scratch_.Clear();
}

}  // namespace lynx::cuda
