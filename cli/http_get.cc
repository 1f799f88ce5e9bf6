#include "cli/http_get.h"

#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "runtime/unique_fd.h"
#include "transfer/tcp_socket.h"

namespace lynx {
namespace {

constexpr size_t kReplyBytesMax = 256 << 20;

// A socket that waits at most until `end`, whatever it does.
class Connection {
 public:
  explicit Connection(Nanos timeout) : end_(clock_.Now() + timeout) {}

  absl::Status Connect(const SocketAddress& address) {
    fd_ = UniqueFd(socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    RETURN_IF_ERROR(SetTimeout());
    const auto* raw = reinterpret_cast<const sockaddr*>(&address.storage);
    return connect(fd_.get(), raw, address.length) == 0
               ? absl::OkStatus()
               : absl::UnavailableError("it cannot be connected to");
  }

  absl::Status Send(const std::string& text) {
    for (size_t sent = 0; sent < text.size();) {
      const ssize_t n = send(fd_.get(), text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return absl::UnavailableError("it takes no request");
      sent += static_cast<size_t>(n);
    }
    return absl::OkStatus();
  }

  // Everything up to the connection's end.
  absl::StatusOr<std::string> Receive() {
    std::string text, buffer(64 << 10, 0);
    for (;;) {
      RETURN_IF_ERROR(SetTimeout());
      const ssize_t n = recv(fd_.get(), buffer.data(), buffer.size(), 0);
      if (n == 0) return text;
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) continue;  // SetTimeout says so
      if (n < 0) return absl::UnavailableError("the connection was lost");
      text.append(buffer.data(), static_cast<size_t>(n));
      if (text.size() > kReplyBytesMax)
        return absl::ResourceExhaustedError("its reply is too long");
    }
  }

 private:
  absl::Status SetTimeout() {
    const int64_t left_us = (end_ - clock_.Now()).count() / 1000;
    if (left_us <= 0) return absl::DeadlineExceededError("it does not answer in time");
    const timeval limit{.tv_sec = static_cast<time_t>(left_us / 1'000'000),
                        .tv_usec = static_cast<suseconds_t>(left_us % 1'000'000)};
    setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);  // of connect too
    return absl::OkStatus();
  }

  const SteadyClock clock_;
  const Nanos end_;
  UniqueFd fd_;
};

// Of a reply that was ended by closing the connection.
absl::StatusOr<HttpReply> ParseReply(const std::string& text) {
  const absl::Status wrong = absl::UnavailableError("its reply is no HTTP, or ended too early");
  HttpReply reply;
  const size_t head_end = text.find("\r\n\r\n");
  if (head_end == std::string::npos ||
      std::sscanf(text.c_str(), "HTTP/1.%*d %d", &reply.status) != 1) {
    return wrong;
  }
  reply.body = text.substr(head_end + 4);
  for (const absl::string_view line : absl::StrSplit(text.substr(0, head_end), "\r\n")) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 1));
    if (parts.size() != 2 || !absl::EqualsIgnoreCase(parts[0], "content-length")) continue;
    uint64_t length = 0;
    if (!absl::SimpleAtoi(parts[1], &length) || length != reply.body.size()) return wrong;
  }
  return reply;
}

}  // namespace

absl::StatusOr<HttpReply> HttpGet(const HttpQuestion& question) {
  ASSIGN_OR_RETURN(const std::vector<SocketAddress> addresses,
                   ResolveHost(question.host, static_cast<uint16_t>(question.port)));
  if (addresses.empty()) return absl::UnavailableError("its name has no address");
  Connection connection(question.timeout);
  RETURN_IF_ERROR(connection.Connect(addresses.front()));
  std::string request = absl::StrCat("GET ", question.path, " HTTP/1.1\r\nHost: ", question.host,
                                     "\r\nConnection: close\r\n");
  if (!question.api_key.empty()) {
    absl::StrAppend(&request, "Authorization: Bearer ", question.api_key, "\r\n");
  }
  RETURN_IF_ERROR(connection.Send(request + "\r\n"));
  ASSIGN_OR_RETURN(const std::string text, connection.Receive());
  return ParseReply(text);
}

int HttpGetStatus(const std::string& host, int64_t port, const std::string& path, Nanos timeout) {
  const absl::StatusOr<HttpReply> reply =
      HttpGet({.host = host, .port = port, .path = path, .timeout = timeout});
  return reply.ok() ? reply->status : 0;
}

}  // namespace lynx
