#include "transfer/frame_landing.h"

#include <algorithm>
#include <utility>

namespace lynx {
namespace {

constexpr size_t kScratchBytes = 64 << 10;

}  // namespace

Receiver::FrameLanding::FrameLanding(Receiver* receiver, const FrameHeader& header, Place place,
                                     std::shared_ptr<Transfer> transfer, std::vector<Piece> pieces)
    : receiver_(receiver),
      header_(header),
      place_(place),
      begun_(receiver->Now()),
      transfer_(std::move(transfer)),
      pieces_(std::move(pieces)),
      diverted_(transfer_ == nullptr) {
  if (transfer_ != nullptr && place_ == Place::kHost) hasher_.emplace();
}

Receiver::FrameLanding::~FrameLanding() {
  if (finished_) return;
  absl::MutexLock lock(&receiver_->mu_);
  LYNX_CHECK(!writing_);
  ++receiver_->stats_.cut_frames;
  Settle(BlockState::kAbsent);
}

size_t Receiver::FrameLanding::FillFrom(std::span<iovec> iov) {
  const uint64_t block_bytes = header_.block_bytes();
  size_t n = 0;
  for (uint64_t at = offset_; n < iov.size() && at < header_.payload_bytes;) {
    uint64_t in_block = at % block_bytes;
    const Piece* piece = diverted_ ? nullptr : &pieces_[at / block_bytes];
    if (piece != nullptr && piece->memory != nullptr) {
      iov[n++] = {piece->memory + in_block, block_bytes - in_block};
      at += block_bytes - in_block;
      continue;
    }
    // Drained bytes share one scratch area, so only one run of them at a time.
    if (scratch_ == nullptr) scratch_ = std::make_unique_for_overwrite<std::byte[]>(kScratchBytes);
    uint64_t rest = diverted_ ? header_.payload_bytes - at : block_bytes - in_block;
    iov[n++] = {scratch_.get(), std::min<uint64_t>(rest, kScratchBytes)};
    break;
  }
  return n;
}

size_t Receiver::FrameLanding::FillOnDevice(std::span<iovec> iov) const {
  const uint64_t block_bytes = header_.block_bytes();
  size_t n = 0;
  for (uint64_t at = offset_; n < iov.size() && at < header_.payload_bytes; ++n) {
    const uint64_t in_block = at % block_bytes;
    std::byte* memory = diverted_ ? nullptr : pieces_[at / block_bytes].memory;
    iov[n] = {memory == nullptr ? nullptr : memory + in_block, block_bytes - in_block};
    at += iov[n].iov_len;
  }
  return n;
}

size_t Receiver::FrameLanding::Prepare(std::span<iovec> iov) {
  LYNX_CHECK(!writing_);
  if (remaining() == 0) return 0;
  if (!diverted_) {
    absl::MutexLock lock(&receiver_->mu_);
    if (transfer_->revoked) {
      diverted_ = true;
    } else {
      writing_ = true;
      ++transfer_->writers;
    }
  }
  size_t n = place_ == Place::kHost ? FillFrom(iov) : FillOnDevice(iov);
  prepared_.assign(iov.begin(), iov.begin() + n);
  return n;
}

void Receiver::FrameLanding::Hash(size_t bytes) {
  for (const iovec& part : prepared_) {
    size_t n = std::min(bytes, part.iov_len);
    hasher_->Update({static_cast<const std::byte*>(part.iov_base), n});
    bytes -= n;
  }
}

void Receiver::FrameLanding::Commit(size_t bytes) {
  LYNX_CHECK(bytes <= remaining());
  // Before the memory may be handed to someone else.
  if (!diverted_ && hasher_) Hash(bytes);
  offset_ += bytes;
  prepared_.clear();
  if (!writing_) return;
  writing_ = false;
  bool safe = false;
  {
    absl::MutexLock lock(&receiver_->mu_);
    --transfer_->writers;
    safe = transfer_->revoked && transfer_->writers == 0;
    if (safe) receiver_->ReleaseQuarantine(transfer_->key);
  }
  if (safe) receiver_->Wake();
}

void Receiver::FrameLanding::Settle(BlockState to) {
  if (transfer_ == nullptr || transfer_->revoked) return;
  for (const Piece& piece : pieces_) {
    if (piece.state != nullptr) *piece.state = to;
  }
}

void Receiver::FrameLanding::Finish() {
  FinishAs(!diverted_ && (!hasher_ || hasher_->Digest() == header_.payload_checksum));
}

void Receiver::FrameLanding::FinishDamaged() { FinishAs(false); }

void Receiver::FrameLanding::FinishAs(bool intact) {
  LYNX_CHECK(remaining() == 0 && !finished_);
  bool wake = false;
  {
    absl::MutexLock lock(&receiver_->mu_);
    finished_ = true;
    if (transfer_ == nullptr || diverted_ || transfer_->revoked) return;
    wake = true;
    Settle(intact ? BlockState::kPresent : BlockState::kAbsent);
    if (intact) {
      receiver_->Publish(*this);
    } else {
      receiver_->TellGap(transfer_.get());
    }
  }
  if (wake) receiver_->Wake();
}

}  // namespace lynx
