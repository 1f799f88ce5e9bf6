#include "proto/role_options.h"

#include <algorithm>
#include <thread>

#include "runtime/log.h"
#include "transfer/open_data_plane.h"

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

NcclOptions MakeNcclOptions(const TransferConfig& config, int64_t gpu) {
  using std::chrono::seconds;
  const NcclConfig& nccl = config.nccl;
  return {.device = static_cast<int>(gpu),
          .anchor_traffic_class = static_cast<int>(nccl.anchor_traffic_class),
          .residual_traffic_class = static_cast<int>(nccl.residual_traffic_class),
          .max_ctas = static_cast<int>(nccl.max_ctas),
          .channels_per_peer = static_cast<int>(nccl.channels_per_peer),
          .max_operation_bytes = static_cast<uint64_t>(nccl.max_operation_mib) << 20,
          .operations_in_flight = static_cast<int>(nccl.operations_in_flight),
          .checksums = nccl.checksums,
          .max_pairs = static_cast<int>(nccl.max_pairs),
          .evict_idle_after = seconds(nccl.evict_idle_after_s),
          .connect_timeout = seconds(config.connect_timeout_s),
          .handshake_timeout = seconds(config.handshake_timeout_s),
          .init_timeout = seconds(nccl.init_timeout_s),
          .operation_timeout = seconds(nccl.operation_timeout_s),
          .abort_timeout = seconds(nccl.abort_timeout_s),
          .dead_peer_timeout = seconds(config.dead_peer_timeout_s)};
}

absl::StatusOr<ChannelKind> ChooseChannel(const TransferConfig& config, const std::string& device) {
  if (config.channel == "tcp") return ChannelKind::kTcp;
  const bool on_gpu = device != "cpu";
  if (config.channel == "nccl") {
    if (!on_gpu) {
      return absl::FailedPreconditionError(
          "transfer.channel is nccl, which moves KV between GPUs, and this role's device is cpu: "
          "set its device, or transfer.channel=tcp on both sides");
    }
    RETURN_IF_ERROR(Annotate(CheckNccl(), "transfer.channel is nccl"));
    return ChannelKind::kNccl;
  }
  if (!on_gpu) return ChannelKind::kTcp;
  const absl::Status nccl = CheckNccl();
  spdlog::info("channel_chosen channel={} why={}", nccl.ok() ? "nccl" : "tcp",
               LogValue(nccl.ok() ? "a GPU, and NCCL was found" : std::string(nccl.message())));
  return nccl.ok() ? ChannelKind::kNccl : ChannelKind::kTcp;
}

TraceLimits MakeTraceLimits(const TraceConfig& config) {
  return {.requests = config.requests, .spans = config.spans};
}

size_t WireBytes(ChannelKind channel, int64_t staging_mib) {
  return channel == ChannelKind::kNccl ? 0 : static_cast<size_t>(staging_mib) << 20;
}

size_t ChannelBytes(ChannelKind channel, ChannelEnd end, const NcclOptions& nccl) {
  if (channel != ChannelKind::kNccl) return 0;
  const size_t pairs = static_cast<size_t>(nccl.max_pairs) * kNcclPairBytes;
  return pairs + (end == ChannelEnd::kReceiver ? nccl.max_operation_bytes : 0);
}

int ResolveThreads(int64_t configured) {
  if (configured > 0) return static_cast<int>(configured);
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

std::string JoinHostPort(const std::string& host, int64_t port) {
  const bool v6 = host.find(':') != std::string::npos && host.front() != '[';
  return v6 ? absl::StrCat("[", host, "]:", port) : absl::StrCat(host, ":", port);
}

std::string MetricsAddress(const std::string& host, int64_t port) {
  return port < 0 ? std::string() : absl::StrCat(" metrics_address=", JoinHostPort(host, port));
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
