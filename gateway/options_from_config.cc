#include "gateway/options_from_config.h"

namespace lynx {
namespace {

constexpr int64_t kKib = 1024;
constexpr int64_t kMib = 1024 * kKib;

HttpOptions HttpOptionsFrom(const GatewayConfig& c) {
  return {.listen_address = c.listen_address,
          .port = static_cast<uint16_t>(c.port),
          .max_header_bytes = static_cast<uint32_t>(c.max_header_kib * kKib),
          .max_body_bytes = static_cast<uint64_t>(c.max_body_mib * kMib),
          .max_connections = c.max_connections,
          .header_timeout = absl::Seconds(c.header_timeout_s),
          .body_timeout = absl::Seconds(c.body_timeout_s),
          .keep_alive_timeout = absl::Seconds(c.keep_alive_timeout_s),
          .write_timeout = absl::Seconds(c.write_timeout_s)};
}

PoolOptions PoolOptionsFrom(const PoolsConfig& c) {
  return {.decode = c.decode,
          .prefill = c.prefill,
          .resolve_interval = absl::Milliseconds(c.resolve_interval_ms),
          .info_interval = absl::Milliseconds(c.info_interval_ms),
          .info_timeout = absl::Milliseconds(c.info_timeout_ms),
          .retry_share = c.retry_share};
}

}  // namespace

GatewayOptions GatewayOptionsFromConfig(const Config& config) {
  const GatewayConfig& c = config.gateway;
  return {.http = HttpOptionsFrom(c),
          .pool = PoolOptionsFrom(config.pools),
          .limits = {.max_choices = c.max_choices,
                     .max_logprobs = c.max_logprobs,
                     .max_stops = c.max_stops,
                     .max_stop_bytes = c.max_stop_bytes},
          .io_threads = static_cast<int>(c.io_threads),
          .text_threads = static_cast<int>(c.text_threads),
          .served_model_names = c.served_model_names,
          .api_keys_file = c.api_keys_file,
          .cors_allow_origin = c.cors_allow_origin,
          .default_emission = c.default_emission == "speculative" ? v1::EMISSION_SPECULATIVE
                                                                  : v1::EMISSION_VERIFIED,
          .chat_max_tokens_default = c.chat_max_tokens_default,
          .max_requests = c.max_requests,
          .max_buffered_events = c.max_buffered_events,
          .max_grpc_message_bytes = c.max_grpc_message_mib * kMib,
          .retry_after_s = static_cast<int>(c.retry_after_s),
          .request_timeout = absl::Seconds(c.request_timeout_s),
          .stall_timeout = absl::Seconds(c.stall_timeout_s),
          .trace = {.requests = config.trace.requests, .spans = config.trace.spans},
          .log_requests = config.log.requests,
          .log_prompts = config.log.prompts,
          .page = c.page,
          .vllm_metrics = c.vllm_metrics};
}

}  // namespace lynx
