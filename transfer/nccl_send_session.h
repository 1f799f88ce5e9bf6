// The sending end of one NCCL session.
#pragma once

#include "transfer/channel.h"
#include "transfer/nccl_session.h"

namespace lynx {

class NcclSendSession final : public NcclSession {
 public:
  // `hello`: the receiver's, admitted. `scratch`: device memory of kNcclWarmUpBytes. All outlive
  // the session.
  NcclSendSession(SessionId id, const NcclOptions& options, NcclLink link, const NcclHello& hello,
                  FrameSource* source, std::byte* scratch, NcclChecksums* checksums, Nanos now);

  // Makes the ids, tells the receiver and begins.
  absl::Status Open();
  Readiness ReadinessAt(Stream stream, Nanos now, Nanos stalled_after) const;
  // Only if ready. The frame's memory is read until FrameWritten.
  void SendFrame(OutFrame frame, Nanos now);

 private:
  absl::Status OnMessage(const NcclMessage& message, Nanos now) override;
  absl::Status OnInitialised() override;
  absl::Status OnHashed(Operation* operation, uint64_t checksum) override;
  absl::Status OnLaunched(Operation* operation) override;
  absl::Status OnEnded(Operation* operation, Nanos now) override;
  void OnUp() override;
  void OnGivenUp(Operation* operation) override;

  absl::Status OnCredit(Operation* operation, const NcclMessage& message);
  absl::Status Announce(Operation* operation);
  void Measure(const Operation& operation, Nanos now);

  const NcclHello peer_;
  FrameSource* const source_;
  std::byte* const scratch_;
  uint64_t bytes_per_s_ = 0;  // of the link, smoothed
  Nanos last_ended_{0};
};

}  // namespace lynx
