// Checksums of payloads in device memory (kernels/checksum_inl.h), taken beside a channel's
// operations. A block's bytes are words of their own, numbered on from the block before.
//
// One for a channel, whose sessions share its slots: memory that a session had to free would wait
// for the device, and so for other sessions' peers. Belongs to the issuing thread; nothing waits.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "runtime/cuda/cuda_buffer.h"
#include "runtime/cuda/cuda_handles.h"
#include "transfer/nccl_pair.h"

namespace lynx {

class NcclChecksums {
 public:
  // On the current device. `slots`: how many may be under way, at least 2.
  static absl::StatusOr<std::unique_ptr<NcclChecksums>> Create(size_t slots);
  ~NcclChecksums();  // waits for what is under way: kernels that wait for nobody
  NcclChecksums(const NcclChecksums&) = delete;

  // Queues the checksum of what lies in `blocks` now, and may be joined where blocks have whole
  // words; their memory stays as it is until Take has the result. Nullopt: no slot is free.
  absl::StatusOr<std::optional<size_t>> Start(std::span<const NcclPiece> blocks);
  // The result, once; the slot is free then. Nullopt: ask again.
  absl::StatusOr<std::optional<uint64_t>> Take(size_t slot);

 private:
  struct Slot {
    cuda::UniqueEvent done{};
    uint64_t bytes = 0;
    bool used = false;
  };

  explicit NcclChecksums(size_t slots) : slots_(slots) {}
  absl::Status LoadKernel();
  absl::Status Queue(size_t slot, std::span<const NcclPiece> blocks);

  std::vector<Slot> slots_;
  cuda::UniqueStream stream_;
  cuda::DeviceBuffer<uint64_t> sums_;       // [slots]
  cuda::PinnedBuffer<uint64_t> host_sums_;  // [slots]
};

}  // namespace lynx
