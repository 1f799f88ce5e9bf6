#include "transfer/nccl_link.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace lynx {
namespace {

// Far more than the messages that may be under way at once, by the limits on operations.
constexpr size_t kMaxUnsentBytes = 256 << 10;
constexpr size_t kReadBytes = 16 << 10;
// Before the messages in it are taken: a peer may send no faster than they are.
constexpr size_t kMaxUnreadBytes = 64 << 10;

}  // namespace

uint32_t NcclLink::wanted_events() const { return out_.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT; }

absl::Status NcclLink::Send(const NcclMessage& message) {
  if (out_.size() > kMaxUnsentBytes) {
    return absl::ResourceExhaustedError("the peer does not read its control connection");
  }
  const std::vector<std::byte> bytes = EncodeNcclMessage(message);
  out_.insert(out_.end(), bytes.begin(), bytes.end());
  return Flush();
}

absl::Status NcclLink::Flush() {
  while (!out_.empty()) {
    const ssize_t n = ::send(fd_.get(), out_.data(), out_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return absl::OkStatus();
    if (n < 0) {
      return absl::UnavailableError(
          absl::StrCat("control connection lost: ", std::strerror(errno)));
    }
    out_.erase(out_.begin(), out_.begin() + n);
  }
  return absl::OkStatus();
}

absl::Status NcclLink::Receive() {
  while (in_.size() < kMaxUnreadBytes) {
    const size_t had = in_.size();
    in_.resize(had + kReadBytes);
    const ssize_t n = ::recv(fd_.get(), in_.data() + had, kReadBytes, MSG_DONTWAIT);
    in_.resize(had + static_cast<size_t>(n > 0 ? n : 0));
    if (n > 0) continue;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return absl::OkStatus();
    return absl::UnavailableError(
        n == 0 ? "the peer closed the control connection"
               : absl::StrCat("control connection lost: ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<NcclMessage>> NcclLink::Next() {
  if (in_.size() < kNcclHeaderBytes) return std::nullopt;
  const std::span<const std::byte> in(in_);
  ASSIGN_OR_RETURN(const size_t bytes, NcclMessageBytes(in.first<kNcclHeaderBytes>()));
  if (in_.size() < bytes) return std::nullopt;
  ASSIGN_OR_RETURN(NcclMessage message, ParseNcclMessage(in.first(bytes)));
  in_.erase(in_.begin(), in_.begin() + static_cast<ptrdiff_t>(bytes));
  return message;
}

}  // namespace lynx
