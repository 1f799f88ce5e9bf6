#include "transfer/nccl_checksums.h"

#include <algorithm>
#include <array>

#include "kernels/checksum_inl.h"
#include "kernels/cuda/checksum.h"

namespace lynx {

absl::StatusOr<std::unique_ptr<NcclChecksums>> NcclChecksums::Create(size_t slots) {
  std::unique_ptr<NcclChecksums> made(new NcclChecksums(slots));
  ASSIGN_OR_RETURN(made->stream_, cuda::NewStream());
  ASSIGN_OR_RETURN(made->sums_, cuda::DeviceBuffer<uint64_t>::Create(slots));
  ASSIGN_OR_RETURN(made->host_sums_, cuda::PinnedBuffer<uint64_t>::Create(slots));
  for (Slot& slot : made->slots_) {
    ASSIGN_OR_RETURN(slot.done, cuda::NewEvent());
  }
  RETURN_IF_ERROR(made->LoadKernel());
  return made;
}

// A kernel's first launch may wait for the device, and so for an operation whose peer waits for us.
absl::Status NcclChecksums::LoadKernel() {
  RETURN_IF_ERROR(cuda::ToStatus(cudaMemset(sums_.data(), 0, sums_.bytes()),
                                 "cannot clear the memory of checksums"));
  RETURN_IF_ERROR(Queue(
      0, std::array{NcclPiece{reinterpret_cast<std::byte*>(sums_.data() + 1), sizeof(uint64_t)}}));
  return cuda::ToStatus(cudaStreamSynchronize(stream_.get()), "cannot take a checksum");
}

NcclChecksums::~NcclChecksums() {
  if (stream_.get() != nullptr) (void)cudaStreamSynchronize(stream_.get());
}

absl::Status NcclChecksums::Queue(size_t slot, std::span<const NcclPiece> blocks) {
  uint64_t* const sum = sums_.data() + slot;
  const cudaStream_t stream = stream_.get();
  RETURN_IF_ERROR(
      cuda::ToStatus(cudaMemsetAsync(sum, 0, sizeof(*sum), stream), "cannot clear a checksum"));
  cuda::ChecksumParams params{.sum = sum};
  uint64_t words = 0;
  for (size_t i = 0; i < blocks.size(); ++i) {
    params.pieces[static_cast<size_t>(params.count++)] = {blocks[i].memory, blocks[i].bytes};
    words += cuda::ChecksumWords(blocks[i].bytes);
    if (params.count < cuda::kChecksumPiecesMax && i + 1 < blocks.size()) continue;
    RETURN_IF_ERROR(cuda::ToStatus(cuda::AddChecksum(params, stream), "cannot take a checksum"));
    params = {.first_word = words, .sum = sum};
  }
  RETURN_IF_ERROR(cuda::ToStatus(
      cudaMemcpyAsync(&host_sums_.span()[slot], sum, sizeof(*sum), cudaMemcpyDeviceToHost, stream),
      "cannot read a checksum"));
  return cuda::ToStatus(cudaEventRecord(slots_[slot].done.get(), stream), "cannot record an event");
}

absl::StatusOr<std::optional<size_t>> NcclChecksums::Start(std::span<const NcclPiece> blocks) {
  const auto free = std::find_if(slots_.begin(), slots_.end(), [](Slot& s) { return !s.used; });
  if (free == slots_.end()) return std::nullopt;
  const auto slot = static_cast<size_t>(free - slots_.begin());
  free->used = true;
  free->bytes = 0;
  for (const NcclPiece& block : blocks) free->bytes += block.bytes;
  RETURN_IF_ERROR(Queue(slot, blocks));
  return slot;
}

absl::StatusOr<std::optional<uint64_t>> NcclChecksums::Take(size_t slot) {
  ASSIGN_OR_RETURN(const bool done, NcclPair::Reached(slots_[slot].done));
  if (!done) return std::nullopt;
  slots_[slot].used = false;
  return FinishChecksum(host_sums_.span()[slot], slots_[slot].bytes);
}

}  // namespace lynx
