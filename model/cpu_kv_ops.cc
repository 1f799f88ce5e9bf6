#include "model/cpu_kv_ops.h"

#include <cstring>

namespace lynx {
namespace {

// Blocks that a job does not want, or that lie where its output goes.
std::byte* Scratch(size_t bytes) {
  thread_local std::vector<std::byte> scratch;
  if (scratch.size() < bytes) scratch.resize(bytes);
  return scratch.data();
}

std::span<const std::byte> CopyOut(std::span<const std::byte> data) {
  std::byte* copy = Scratch(data.size());
  if (!data.empty()) std::memcpy(copy, data.data(), data.size());
  return {copy, data.size()};
}

}  // namespace

void CpuKvOps::Code(KvShape shape, KvSplit split, std::span<CodeJob> jobs) {
  pool_.ForEach(static_cast<int64_t>(jobs.size()),
                [&](int64_t i) { CodePage(shape, split, jobs[static_cast<size_t>(i)]); });
}

void CpuKvOps::CodePage(KvShape shape, KvSplit split, CodeJob& job) const {
  std::byte* residual =
      job.residual != nullptr ? job.residual : Scratch(ResidualBlockBytes(shape, split));
  job.result = kernels_.split_page({.shape = shape,
                                    .split = split,
                                    .page = job.page,
                                    .first_token = job.first_token,
                                    .anchor = job.anchor,
                                    .residual = residual});
  if (job.result == SplitResult::kRaw || job.tail == nullptr) return;
  job.tail_bytes = static_cast<uint32_t>(kernels_.tail_encode({.shape = shape,
                                                               .split = split,
                                                               .page = job.page,
                                                               .first_token = job.first_token,
                                                               .anchor = job.anchor,
                                                               .residual = residual,
                                                               .tail = job.tail}));
}

void CpuKvOps::Pack(KvShape shape, std::span<const PackJob> jobs) {
  for (const PackJob& job : jobs) PackTokens(shape, job.page, job.begin, job.end, job.packed);
}

void CpuKvOps::Unpack(KvShape shape, std::span<const UnpackJob> jobs) {
  for (const UnpackJob& job : jobs) {
    const size_t bytes = (job.end - job.begin) * PackedTokenBytes(shape);
    UnpackTokens(shape, CopyOut({job.packed, bytes}).data(), job.begin, job.end, job.page);
  }
}

void CpuKvOps::Restore(KvShape shape, KvSplit split, std::span<RestoreJob> jobs) {
  pool_.ForEach(static_cast<int64_t>(jobs.size()),
                [&](int64_t i) { RestorePage(shape, split, jobs[static_cast<size_t>(i)]); });
}

void CpuKvOps::RestorePage(KvShape shape, KvSplit split, RestoreJob& job) const {
  job.fits = kernels_.tail_decode({.shape = shape,
                                   .split = split,
                                   .first_token = job.first_token,
                                   .anchor = job.anchor,
                                   .residual = job.residual,
                                   .tail = CopyOut(job.tail),
                                   .page = job.page});
  if (job.sinks != nullptr) UnpackTokens(shape, job.sinks, 0, job.first_token, job.page);
}

void CpuKvOps::Copy(std::byte* to, const std::byte* from, size_t bytes) {
  std::memcpy(to, from, bytes);
}

}  // namespace lynx
