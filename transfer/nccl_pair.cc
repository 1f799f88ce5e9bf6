#include "transfer/nccl_pair.h"

#include "transfer/nccl_api.h"
#include "transfer/nccl_bugs.h"

namespace lynx {
namespace {

absl::StatusCode CodeOf(ncclResult_t result) {
  switch (result) {
    case ncclRemoteError:
    case ncclSystemError:
      return absl::StatusCode::kUnavailable;
    case ncclInvalidArgument:
    case ncclInvalidUsage:
      return absl::StatusCode::kInvalidArgument;
    default:
      return absl::StatusCode::kInternal;
  }
}

const char* HintOf(ncclResult_t result) {
  switch (result) {
    case ncclRemoteError:
      return "; the peer or the network failed, a new session may be joined";
    case ncclSystemError:
      return "; NCCL_DEBUG=WARN tells more, check NCCL_SOCKET_IFNAME and the network's devices";
    case ncclUnhandledCudaError:
      return "; the CUDA device failed, see NCCL_DEBUG=WARN";
    default:
      return "";
  }
}

// The Anchor's work goes ahead of the Residual's on the device; over the wire the traffic classes
// say so.
absl::StatusOr<cuda::UniqueStream> NewStreamFor(Stream stream) {
  int least = 0;
  int greatest = 0;
  RETURN_IF_ERROR(cuda::ToStatus(cudaDeviceGetStreamPriorityRange(&least, &greatest),
                                 "cannot ask for stream priorities"));
  cudaStream_t made = nullptr;
  const int priority = stream == Stream::kAnchor ? greatest : least;
  RETURN_IF_ERROR(
      cuda::ToStatus(cudaStreamCreateWithPriority(&made, cudaStreamNonBlocking, priority),
                     "cannot create a CUDA stream"));
  return cuda::UniqueStream(made);
}

}  // namespace

absl::Status NcclToStatus(ncclResult_t result, std::string_view what, ncclComm_t comm) {
  if (result == ncclSuccess) return absl::OkStatus();
  const char* last = comm == nullptr ? nullptr : Nccl().GetLastError(comm);
  return absl::Status(CodeOf(result),
                      absl::StrCat(ToAbsl(what), ": NCCL: ", Nccl().GetErrorString(result),
                                   last == nullptr || *last == '\0' ? "" : ": ",
                                   last == nullptr ? "" : last, HintOf(result)));
}

absl::StatusOr<std::unique_ptr<NcclPair>> NcclPair::Create(NcclRole role,
                                                           const NcclOptions& options) {
  std::unique_ptr<NcclPair> pair(new NcclPair(role, options));
  for (Stream stream : {Stream::kAnchor, Stream::kResidual}) {
    ASSIGN_OR_RETURN(pair->lane(stream).stream, NewStreamFor(stream));
  }
  return pair;
}

NcclPair::~NcclPair() { Abort(); }

absl::Status NcclPair::StartInit(Stream stream, const ncclUniqueId& id) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  config.splitShare = 0;  // shared resources are one device stream for both
  config.minCTAs = 1;
  config.maxCTAs = options_.max_ctas;
  config.nChannelsPerNetPeer = options_.channels_per_peer;
  const int traffic_class =
      stream == Stream::kAnchor ? options_.anchor_traffic_class : options_.residual_traffic_class;
  if (traffic_class >= 0) config.trafficClass = traffic_class;
  Lane& l = lane(stream);
  const ncclResult_t result =
      Nccl().CommInitRankConfig(&l.comm, 2, id, static_cast<int>(role_), &config);
  if (result == ncclInProgress) return absl::OkStatus();
  return NcclToStatus(result, "cannot make a communicator", l.comm);
}

absl::StatusOr<bool> NcclPair::Settled(Stream stream) {
  Lane& l = lane(stream);
  ncclResult_t state = ncclSuccess;
  RETURN_IF_ERROR(
      NcclToStatus(Nccl().CommGetAsyncError(l.comm, &state), "cannot ask a communicator"));
  if (state == ncclInProgress) return false;
  RETURN_IF_ERROR(NcclToStatus(state, "a communicator failed", l.comm));
  l.made = true;
  return true;
}

absl::Status NcclPair::Issue(Stream stream, std::span<const NcclPiece> pieces) {
  Lane& l = lane(stream);
  const int peer = 1 - static_cast<int>(role_);
  RETURN_IF_ERROR(NcclToStatus(Nccl().GroupStart(), "cannot begin a group"));
  ncclResult_t added = ncclSuccess;
  for (const NcclPiece& piece : pieces) {
    added = role_ == NcclRole::kSender
                ? Nccl().Send(piece.memory, piece.bytes, ncclInt8, peer, l.comm, l.stream.get())
                : Nccl().Recv(piece.memory, piece.bytes, ncclInt8, peer, l.comm, l.stream.get());
    if (added == ncclInProgress) added = ncclSuccess;
    if (added != ncclSuccess) break;
  }
  // A group is always ended, or the thread would stay inside it.
  const ncclResult_t ended = Nccl().GroupEnd();
  RETURN_IF_ERROR(NcclToStatus(added, "cannot issue an operation", l.comm));
  if (ended == ncclInProgress) return absl::OkStatus();
  return NcclToStatus(ended, "cannot issue a group", l.comm);
}

absl::StatusOr<cuda::UniqueEvent> NcclPair::Mark(Stream stream) {
  ASSIGN_OR_RETURN(cuda::UniqueEvent event, cuda::NewEvent());
  RETURN_IF_ERROR(cuda::ToStatus(cudaEventRecord(event.get(), lane(stream).stream.get()),
                                 "cannot record an event"));
  return event;
}

absl::StatusOr<bool> NcclPair::Reached(const cuda::UniqueEvent& event) {
  const cudaError_t error = cudaEventQuery(event.get());
  if (error == cudaErrorNotReady) return false;
  RETURN_IF_ERROR(cuda::ToStatus(error, "an operation failed on the device"));
  return true;
}

void NcclPair::Revoke() {
  for (Lane& l : lanes_) {
    if (HasBug(NcclBug::kAbortAlone) || HasBug(NcclBug::kLostAbort)) return;
    // One that is not made yet knows no revoking: aborting ends its initialisation.
    if (l.comm != nullptr && l.made) (void)Nccl().CommRevoke(l.comm, NCCL_REVOKE_DEFAULT);
  }
}

bool NcclPair::Revoked() {
  for (Lane& l : lanes_) {
    ncclResult_t state = ncclSuccess;
    if (l.comm == nullptr || !l.made) continue;
    if (Nccl().CommGetAsyncError(l.comm, &state) == ncclSuccess && state == ncclInProgress) {
      return false;
    }
  }
  return true;
}

void NcclPair::Abort() {
  if (HasBug(NcclBug::kLostAbort)) {
    for (Lane& l : lanes_) l.comm = nullptr;
  }
  const bool together = !HasBug(NcclBug::kAbortAlone);
  // In one group: each waits for what the other's abort lets go.
  if (together) (void)Nccl().GroupStart();
  for (Lane& l : lanes_) {
    if (l.comm != nullptr) (void)Nccl().CommAbort(std::exchange(l.comm, nullptr));
  }
  if (together) (void)Nccl().GroupEnd();
}

bool NcclPair::Drained() const {
  for (const Lane& l : lanes_) {
    if (cudaStreamQuery(l.stream.get()) == cudaErrorNotReady) return false;
  }
  return true;
}

}  // namespace lynx
