// One arriving frame: which of its bytes go to granted memory and which are drained. Part of
// Receiver.
//
// The memory contract: between Prepare and Commit the channel may write (the transfer's `writers`
// counts it); at any other moment Revoke makes the memory safe at once, because the next Prepare
// asks again and diverts the rest.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "transfer/grant_table.h"
#include "transfer/receiver.h"

namespace lynx {

// Guarded by Receiver::mu_.
struct Receiver::Transfer {
  TransferKey key;
  SessionId session{};
  GrantTable table;
  bool revoked = false;
  bool gap_told = false;  // a kGap event is queued
  int writers = 0;        // landings between Prepare and Commit
};

class Receiver::FrameLanding final : public Landing {
 public:
  // A block's place in the payload.
  struct Piece {
    std::byte* memory = nullptr;  // nullptr: drained
    BlockState* state =
        nullptr;  // of a block that this frame lands; stable while the transfer lives
  };

  // `transfer` null: the frame is drained.
  FrameLanding(Receiver* receiver, const FrameHeader& header, Place place,
               std::shared_ptr<Transfer> transfer, std::vector<Piece> pieces);
  ~FrameLanding() override;

  size_t Prepare(std::span<iovec> iov) override;
  void Commit(size_t bytes) override;
  uint64_t remaining() const override { return header_.payload_bytes - offset_; }
  void Finish() override;
  void FinishDamaged() override;

 private:
  friend class Receiver;
  size_t FillFrom(std::span<iovec> iov);
  size_t FillOnDevice(std::span<iovec> iov) const;
  void Hash(size_t bytes);
  void FinishAs(bool intact);
  // Gives the blocks back to the transfer: `to` is what becomes of them.
  void Settle(BlockState to) ABSL_EXCLUSIVE_LOCKS_REQUIRED(receiver_->mu_);

  Receiver* const receiver_;
  const FrameHeader header_;
  const Place place_;
  const Nanos begun_;
  const std::shared_ptr<Transfer> transfer_;
  std::vector<Piece> pieces_;             // empty if drained
  std::optional<PayloadHasher> hasher_;   // not of what is on the device
  std::unique_ptr<std::byte[]> scratch_;  // where drained bytes go
  std::vector<iovec> prepared_;
  uint64_t offset_ = 0;
  bool diverted_ = false;  // the rest is drained: nobody wants the frame any more
  bool writing_ = false;
  bool finished_ = false;
};

}  // namespace lynx
