// The receiving end of one NCCL session.
#pragma once

#include "transfer/channel.h"
#include "transfer/nccl_session.h"

namespace lynx {

class NcclReceiveSession final : public NcclSession {
 public:
  // `scratch`: device memory of options.max_operation_bytes, for what is drained; several sessions
  // may share it. All outlive the session.
  NcclReceiveSession(SessionId id, const NcclOptions& options, NcclLink link, FrameSink* sink,
                     std::byte* scratch, NcclChecksums* checksums, Nanos now);

 private:
  absl::Status OnMessage(const NcclMessage& message, Nanos now) override;
  absl::Status OnInitialised() override;
  absl::Status OnHashed(Operation* operation, uint64_t checksum) override;
  absl::Status OnLaunched(Operation* operation) override;
  absl::Status OnEnded(Operation* operation, Nanos now) override;
  void OnUp() override;
  void OnGivenUp(Operation* operation) override;

  // The next operation in the order, on this stream; checks that it is.
  absl::StatusOr<Operation*> Append(const NcclMessage& message, Nanos now);
  absl::Status OnAnnounce(const NcclMessage& message, Nanos now);
  // What is to be checked once it is in: a frame of which a part is drained cannot be, and is asked
  // for again.
  void PrepareCheck(Operation* operation, const FrameHeader& header,
                    std::span<const iovec> blocks) const;
  // Cuts the pieces that both ends have.
  void Lay(Operation* operation, const NcclAnnounce& announce);

  FrameSink* const sink_;
  std::byte* const scratch_;
  bool open_ = false;
};

}  // namespace lynx
