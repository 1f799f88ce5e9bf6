#include "decode/server.h"
#include "model/kv_format.h"
#include "proto/role_options.h"

namespace lynx::decode {

absl::StatusOr<ServerOptions> MakeServerOptions(const Config& config) {
  if (config.model.empty()) return absl::InvalidArgumentError("no model is configured");
  const DecodeConfig& decode = config.decode;
  ServerOptions options;
  EngineOptions& engine = options.engine;
  ASSIGN_OR_RETURN(engine.target, ParseKvTarget(config.kv.target));
  engine.split = {.k_bits = static_cast<int>(config.kv.anchor_bits.k),
                  .v_bits = static_cast<int>(config.kv.anchor_bits.v)};
  engine.max_draft_tokens = config.speculation.max_draft_tokens;
  engine.rows_max = decode.max_batch_rows;
  if (engine.rows_max <= engine.max_draft_tokens) {
    return absl::InvalidArgumentError(absl::StrCat("decode.max_batch_rows (", engine.rows_max,
                                                   ") must be above speculation.max_draft_tokens (",
                                                   engine.max_draft_tokens, ")"));
  }
  engine.kv_budget_bytes = static_cast<size_t>(config.kv.memory_mib.decode) << 20;
  engine.queue_limit = static_cast<size_t>(decode.queue_limit);
  engine.max_context = decode.max_context_tokens;
  engine.gap_timeout = std::chrono::milliseconds(decode.gap_timeout_ms);
  engine.restore_pages_per_step = decode.restore_pages_per_step;
  ASSIGN_OR_RETURN(options.channel, ChooseChannel(config.transfer, decode.device));
  options.model = config.model;
  options.threads = ResolveThreads(decode.threads);
  options.device = {.name = decode.device,
                    .gpu = static_cast<int>(decode.gpu),
                    .kv_bytes = engine.kv_budget_bytes,
                    .wire_bytes = WireBytes(options.channel, config.kv.staging_mib.decode),
                    .channel_bytes = ChannelBytes(options.channel, ChannelEnd::kReceiver,
                                                  MakeNcclOptions(config.transfer, decode.gpu)),
                    .rows_max = engine.rows_max};
  engine.staging_bytes = options.device.wire_bytes;
  options.data = {.tcp = MakeTcpOptions(config.transfer),
                  .nccl = MakeNcclOptions(config.transfer, decode.gpu),
                  .max_sessions = static_cast<size_t>(config.transfer.max_sessions)};
  options.listen_host = decode.listen_address;
  options.port = decode.port;
  options.metrics_port = decode.metrics_port;
  options.vllm_metrics = decode.vllm_metrics;
  options.stall_timeout = std::chrono::seconds(decode.stall_timeout_s);
  options.trace = MakeTraceLimits(config.trace);
  options.log_requests = config.log.requests;
  return options;
}

}  // namespace lynx::decode
