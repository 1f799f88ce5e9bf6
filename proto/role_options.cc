#include "proto/role_options.h"

#include <algorithm>
#include <thread>

namespace lynx {
namespace {

// A token id is a varint of at most 5 bytes; a penalty or bias for each of many tokens fits beside.
constexpr int64_t kBytesPerToken = 5;
constexpr int64_t kBytesBesidePrompt = 4 << 20;
constexpr int64_t kMessageBytesMax = INT32_MAX;

}  // namespace

TcpOptions MakeTcpOptions(const TransferConfig& config) {
  using std::chrono::seconds;
  return {.anchor_dscp = static_cast<int>(config.anchor_dscp),
          .residual_dscp = static_cast<int>(config.residual_dscp),
          .notsent_lowat_bytes = static_cast<uint32_t>(config.notsent_lowat_kib << 10),
          .receive_buffer_bytes = static_cast<uint32_t>(config.receive_buffer_kib << 10),
          .connect_timeout = seconds(config.connect_timeout_s),
          .handshake_timeout = seconds(config.handshake_timeout_s),
          .stall_timeout = seconds(config.stall_timeout_s),
          .frame_timeout = seconds(config.frame_timeout_s),
          .dead_peer_timeout = seconds(config.dead_peer_timeout_s)};
}

int ResolveThreads(int64_t configured) {
  if (configured > 0) return static_cast<int>(configured);
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

std::string JoinHostPort(const std::string& host, int64_t port) {
  const bool v6 = host.find(':') != std::string::npos && host.front() != '[';
  return v6 ? absl::StrCat("[", host, "]:", port) : absl::StrCat(host, ":", port);
}

GrpcHostOptions MakeGrpcHostOptions(const std::string& listen_host, int64_t port,
                                    int64_t max_context_tokens, size_t queue_limit) {
  const int64_t bytes =
      std::min(max_context_tokens, kMessageBytesMax / kBytesPerToken) * kBytesPerToken;
  return {.listen = JoinHostPort(listen_host, port),
          .receive_message_bytes_max = std::min(bytes + kBytesBesidePrompt, kMessageBytesMax),
          .concurrent_calls_max = static_cast<int64_t>(2 * queue_limit + 64)};
}

}  // namespace lynx
