// The two communicators between one sender and one receiver, with a CUDA stream each: the
// place where NCCL is called. Two ranks: the sender is 0, the receiver 1.
//
// Threads: all of a process' pairs belong to one thread, the channel's issuing thread; NCCL
// deadlocks where several threads issue on two communicators of one device. Nothing waits but
// Abort, for as long as NCCL takes to free its resources. The two ends must make the same calls in
// the same order.
#pragma once

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "runtime/cuda/cuda_handles.h"
#include "runtime/status.h"
#include "transfer/block.h"
#include "transfer/nccl_options.h"

namespace lynx {

// INTERNAL, UNAVAILABLE (the peer is gone, or the network), INVALID_ARGUMENT..., with NCCL's words.
absl::Status NcclToStatus(ncclResult_t result, std::string_view what, ncclComm_t comm = nullptr);

enum class NcclRole : uint8_t { kSender = 0, kReceiver = 1 };  // the ranks

// Contiguous device memory. The other end has pieces of the same lengths.
struct NcclPiece {
  std::byte* memory = nullptr;
  size_t bytes = 0;
};

class NcclPair {
 public:
  static absl::StatusOr<std::unique_ptr<NcclPair>> Create(NcclRole role,
                                                          const NcclOptions& options);
  // Aborts, if that was not done.
  ~NcclPair();
  NcclPair(const NcclPair&) = delete;

  // Begins to make a communicator. Settled says when it is there.
  absl::Status StartInit(Stream stream, const ncclUniqueId& id);
  // True when the communicator has done what it was asked for and takes the next call; false: ask
  // again. An error is final for the pair.
  absl::StatusOr<bool> Settled(Stream stream);
  // One group of sends (or recvs, as the role has it). Only if Settled; on the device once Settled
  // again.
  absl::Status Issue(Stream stream, std::span<const NcclPiece> pieces);
  // What was issued on the stream and has settled, as an event of which Reached tells.
  absl::StatusOr<cuda::UniqueEvent> Mark(Stream stream);
  static absl::StatusOr<bool> Reached(const cuda::UniqueEvent& event);

  // The end after a failure, in this order: Revoke; when Revoked (or too late), Abort; when
  // Drained, the device touches no memory of this pair any more.
  void Revoke();
  bool Revoked();
  void Abort();
  bool Drained() const;

 private:
  struct Lane {
    ncclComm_t comm = nullptr;
    bool made = false;  // initialisation has ended well
    cuda::UniqueStream stream{};
  };

  NcclPair(NcclRole role, const NcclOptions& options) : role_(role), options_(options) {}
  Lane& lane(Stream stream) { return lanes_[static_cast<size_t>(stream)]; }

  const NcclRole role_;
  const NcclOptions options_;
  std::array<Lane, kStreams> lanes_;
};

}  // namespace lynx
