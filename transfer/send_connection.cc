#include "transfer/send_connection.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace lynx {
namespace {

constexpr size_t kMaxIov = 512;  // of IOV_MAX (1024)

uint64_t ChecksumOf(const OutFrame& frame) {
  if (frame.blocks.size() == 1) return PayloadChecksum(frame.blocks[0].bytes);
  PayloadHasher hasher;
  for (const BlockData& block : frame.blocks) hasher.Update(block.bytes);
  return hasher.Digest();
}

FrameHeader HeaderOf(const OutFrame& frame) {
  const BlockId& first = frame.blocks.front().id;
  return {.stream = StreamOf(frame.block_class),
          .kind = first.kind,
          .transfer = frame.transfer,
          .layer = first.layer,
          .first_page = first.page,
          .page_count = static_cast<uint32_t>(frame.blocks.size()),
          .payload_bytes = frame.payload_bytes,
          .payload_checksum = ChecksumOf(frame)};
}

iovec ToIov(std::span<const std::byte> bytes) {
  return {const_cast<std::byte*>(bytes.data()), bytes.size()};  // writev takes no const
}

}  // namespace

SendConnection::SendConnection(UniqueFd fd, Stream stream, const TcpOptions& options,
                               FrameSource* source, Nanos now)
    : fd_(std::move(fd)),
      stream_(stream),
      options_(options),
      source_(source),
      last_progress_(now) {}

SendConnection::~SendConnection() {
  if (frame_) {
    TellWritten();
    source_->FrameDelivered(frame_->id);
  }
  for (const Undelivered& u : undelivered_) source_->FrameDelivered(u.frame);
}

Readiness SendConnection::ReadinessAt(Nanos now, Nanos stalled_after) const {
  if (!writing()) return Readiness::kReady;
  return now - last_progress_ > stalled_after ? Readiness::kStalled : Readiness::kBusy;
}

void SendConnection::Start(OutFrame frame, Nanos now) {
  LYNX_CHECK(!writing());
  frame_ = std::move(frame);
  memory_told_ = false;
  header_ = EncodeFrameHeader(HeaderOf(*frame_));
  iov_.clear();
  next_iov_ = 0;
  iov_.push_back(ToIov(header_));
  for (const BlockData& block : frame_->blocks) {
    if (!block.bytes.empty()) iov_.push_back(ToIov(block.bytes));
  }
  frame_started_ = last_progress_ = now;
}

void SendConnection::Advance(size_t bytes) {
  written_bytes_ += bytes;
  while (bytes > 0) {
    iovec& part = iov_[next_iov_];
    size_t n = std::min(bytes, part.iov_len);
    part.iov_base = static_cast<std::byte*>(part.iov_base) + n;
    part.iov_len -= n;
    bytes -= n;
    if (part.iov_len == 0) ++next_iov_;
  }
}

absl::Status SendConnection::Write(Nanos now) {
  while (writing()) {
    msghdr message{};
    message.msg_iov = iov_.data() + next_iov_;
    message.msg_iovlen = std::min(iov_.size() - next_iov_, kMaxIov);
    ssize_t n = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return absl::OkStatus();
    if (n < 0) return absl::UnavailableError(absl::StrCat("write: ", std::strerror(errno)));
    last_progress_ = now;
    Advance(static_cast<size_t>(n));
    if (next_iov_ == iov_.size()) EndFrame();
  }
  return absl::OkStatus();
}

void SendConnection::TellWritten() {
  if (!std::exchange(memory_told_, true)) source_->FrameWritten(frame_->id);
}

void SendConnection::EndFrame() {
  TellWritten();
  // Only the Residual's stream is held back by what is on the way.
  if (stream_ == Stream::kAnchor) {
    source_->FrameDelivered(frame_->id);
  } else {
    undelivered_.push_back({written_bytes_, frame_->id});
  }
  frame_.reset();
  copied_.clear();
}

void SendConnection::ReleaseMemoryIfWanted() {
  if (!writing() || memory_told_ || !source_->FrameMemoryWanted(frame_->id)) return;
  for (size_t i = next_iov_; i < iov_.size(); ++i) {
    auto* begin = static_cast<const std::byte*>(iov_[i].iov_base);
    copied_.insert(copied_.end(), begin, begin + iov_[i].iov_len);
  }
  iov_ = {ToIov(copied_)};
  next_iov_ = 0;
  TellWritten();
}

void SendConnection::CheckDelivered() {
  if (undelivered_.empty()) return;
  uint64_t on_the_way = UnackedBytes(fd_.get());
  uint64_t arrived = written_bytes_ - std::min(on_the_way, written_bytes_) + link_bytes_;
  while (!undelivered_.empty() && undelivered_.front().end_offset <= arrived) {
    source_->FrameDelivered(undelivered_.front().frame);
    undelivered_.pop_front();
  }
}

uint64_t SendConnection::MeasureRate() {
  TcpState state = QueryTcp(fd_.get());
  link_bytes_ = static_cast<uint64_t>(static_cast<double>(state.delivery_bytes_per_s) *
                                      static_cast<double>(state.min_rtt.count()) * 1e-9);
  return state.delivery_bytes_per_s;
}

std::optional<Nanos> SendConnection::Deadline() const {
  if (!writing()) return std::nullopt;
  return std::min(last_progress_ + options_.stall_timeout, frame_started_ + options_.frame_timeout);
}

}  // namespace lynx
