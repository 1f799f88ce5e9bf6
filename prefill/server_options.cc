#include "model/kv_format.h"
#include "prefill/server.h"
#include "proto/role_options.h"

namespace lynx::prefill {
namespace {

SendQueueOptions MakeSendOptions(const TransferConfig& config) {
  using std::chrono::milliseconds;
  return {.residual_max_wait = milliseconds(config.residual_max_wait_ms),
          .frame_time = milliseconds(config.frame_time_ms),
          .min_frame_bytes = static_cast<uint64_t>(config.min_frame_kib) << 10,
          .max_frame_bytes = static_cast<uint64_t>(config.max_frame_kib) << 10,
          .max_residual_frames_in_flight = static_cast<int>(config.max_residual_frames_in_flight),
          .rate_limit_bytes_per_s = static_cast<uint64_t>(config.link_rate_mbit * 1e6 / 8),
          .rate_burst = milliseconds(config.rate_burst_ms)};
}

DataServerOptions MakeDataOptions(const PrefillConfig& prefill, const TransferConfig& transfer) {
  return {.tcp = MakeTcpOptions(transfer),
          .nccl = MakeNcclOptions(transfer, prefill.gpu),
          .listen_host = prefill.listen_address,
          .port = static_cast<uint16_t>(prefill.data_port),
          .ticket_lifetime = std::chrono::seconds(transfer.ticket_lifetime_s),
          .max_sessions = static_cast<size_t>(transfer.max_sessions),
          .max_unknown_connections = static_cast<size_t>(transfer.max_unknown_connections),
          .stalled_after = std::chrono::milliseconds(transfer.stalled_after_ms)};
}

}  // namespace

absl::StatusOr<ServerOptions> MakeServerOptions(const Config& config) {
  if (config.model.empty()) return absl::InvalidArgumentError("no model is configured");
  const PrefillConfig& prefill = config.prefill;
  ServerOptions options;
  ASSIGN_OR_RETURN(options.engine.target, ParseKvTarget(config.kv.target));
  ASSIGN_OR_RETURN(options.channel, ChooseChannel(config.transfer, prefill.device));
  options.model = config.model;
  options.threads = ResolveThreads(prefill.threads);
  options.device = {.name = prefill.device,
                    .gpu = static_cast<int>(prefill.gpu),
                    .kv_bytes = static_cast<size_t>(config.kv.memory_mib.prefill) << 20,
                    .wire_bytes = WireBytes(options.channel, config.kv.staging_mib.prefill),
                    .channel_bytes = ChannelBytes(options.channel, ChannelEnd::kSender,
                                                  MakeNcclOptions(config.transfer, prefill.gpu)),
                    .rows_max = prefill.chunk_tokens};
  options.engine.staging_bytes = options.device.wire_bytes;
  options.engine.chunk_tokens = prefill.chunk_tokens;
  options.engine.kv_budget_bytes = static_cast<size_t>(config.kv.memory_mib.prefill) << 20;
  options.engine.queue_limit = static_cast<size_t>(prefill.queue_limit);
  options.engine.not_yet_retry = std::chrono::milliseconds(prefill.not_yet_retry_ms);
  options.engine.max_context = prefill.max_context_tokens;
  options.send = MakeSendOptions(config.transfer);
  RETURN_IF_ERROR(options.send.Validate());
  options.data = MakeDataOptions(prefill, config.transfer);
  options.data_host = prefill.data_host;
  options.listen_host = prefill.listen_address;
  options.port = prefill.port;
  options.metrics_port = prefill.metrics_port;
  options.vllm_metrics = prefill.vllm_metrics;
  options.stall_timeout = std::chrono::seconds(prefill.stall_timeout_s);
  options.trace = MakeTraceLimits(config.trace);
  options.log_requests = config.log.requests;
  return options;
}

}  // namespace lynx::prefill
