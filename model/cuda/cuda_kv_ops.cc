#include "model/cuda/cuda_kv_ops.h"

#include <utility>

#include "kernels/cuda/kv_pack.h"
#include "kernels/cuda/kv_split.h"
#include "kernels/cuda/kv_tail.h"

namespace lynx::cuda {

CudaKvOps::~CudaKvOps() { cudaStreamSynchronize(stream_); }

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
                  stream_),
       "cannot code pages");
  unmarked_ = true;
  collect_.emplace_back([jobs, raw] {
    for (size_t i = 0; i < jobs.size(); ++i) {
      jobs[i].result = raw[i] != 0 ? SplitResult::kRaw : SplitResult::kCode;
    }
  });
  if (jobs[0].tail != nullptr) EncodeTails(shape, split, jobs, raw);
}

void CudaKvOps::EncodeTails(KvShape shape, KvSplit split, std::span<CodeJob> jobs,
                            std::span<const int32_t> raw) {
  const size_t room = Bf16PageBytes(shape) + sizeof(uint32_t);  // encoding ends with whole words
  const std::span device = scratch_.Take<TailEncodeJob>(jobs.size());
  const std::span bytes = scratch_.Take<uint32_t>(jobs.size());
  for (size_t i = 0; i < jobs.size(); ++i) {
    device[i] = {.page = jobs[i].page,
                 .anchor = jobs[i].anchor,
                 .tail = scratch_.Take<std::byte>(room).data(),
                 .first_token = jobs[i].first_token};
  }
  Must(TailEncode({.shape = shape,
                   .split = split,
                   .jobs = device.data(),
                   .count = static_cast<int64_t>(jobs.size()),
                   .bytes = bytes.data()},
                  stream_),
       "cannot encode Tails");
  collect_.emplace_back([jobs, raw, device, bytes] {
    for (size_t i = 0; i < jobs.size(); ++i) {
      if (raw[i] == 0) jobs[i].tail->assign(device[i].tail, device[i].tail + bytes[i]);
    }
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
           stream_),
       "cannot pack tokens");
  unmarked_ = true;
}

void CudaKvOps::Unpack(KvShape shape, std::span<const UnpackJob> jobs) {
  if (jobs.empty()) return;
  const std::span device = scratch_.Take<PackJob>(jobs.size());
  for (size_t i = 0; i < jobs.size(); ++i) {
    device[i] = {.page = jobs[i].page,
                 .packed = const_cast<std::byte*>(jobs[i].packed),  // only read
                 .begin = jobs[i].begin,
                 .end = jobs[i].end};
  }
  Must(UnpackTokens(
           {.shape = shape, .jobs = device.data(), .count = static_cast<int64_t>(jobs.size())},
           stream_),
       "cannot unpack tokens");
  unmarked_ = true;
}

void CudaKvOps::Restore(KvShape shape, KvSplit split, std::span<RestoreJob> jobs) {
  if (jobs.empty()) return;
  const std::span device = scratch_.Take<TailDecodeJob>(jobs.size());
  const std::span bad = scratch_.Take<int32_t>(jobs.size());
  std::vector<UnpackJob> sinks;
  for (size_t i = 0; i < jobs.size(); ++i) {
    LYNX_CHECK(jobs[i].tail.data() != jobs[i].page);  // a Tail has a landing of its own
    device[i] = {.anchor = jobs[i].anchor,
                 .residual = jobs[i].residual,
                 .tail = jobs[i].tail.data(),
                 .page = jobs[i].page,
                 .tail_bytes = static_cast<uint32_t>(jobs[i].tail.size()),
                 .first_token = jobs[i].first_token};
    if (jobs[i].sinks != nullptr) {
      sinks.push_back({jobs[i].sinks, 0, jobs[i].first_token, jobs[i].page});
    }
  }
  Must(TailDecode({.shape = shape,
                   .split = split,
                   .jobs = device.data(),
                   .count = static_cast<int64_t>(jobs.size()),
                   .bad = bad.data()},
                  stream_),
       "cannot decode Tails");
  unmarked_ = true;
  collect_.emplace_back([jobs, bad] {
    for (size_t i = 0; i < jobs.size(); ++i) jobs[i].fits = bad[i] == 0;
  });
  Unpack(shape, sinks);
}

void CudaKvOps::Copy(std::byte* to, const std::byte* from, size_t bytes) {
  Must(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_), "cannot copy a block");
  unmarked_ = true;
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
  if (!unmarked_) return Mark{last_mark_};
  Pending pending{Mark{++last_mark_}, TakeEvent(), std::exchange(collect_, {})};
  Must(cudaEventRecord(pending.event.get(), stream_), "cannot record an event");
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
