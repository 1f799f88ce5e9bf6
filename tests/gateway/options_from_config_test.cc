#include "gateway/options_from_config.h"

#include <catch2/catch.hpp>

#include "config/fields.h"

namespace lynx {
namespace {

// Every number of the gateway's sections at one end of its range.
GatewayOptions AtEnd(bool max) {
  Config config;
  for (const Field& field : DescribeFields(config)) {
    if (field.path.rfind("gateway.", 0) != 0 && field.path.rfind("pools.", 0) != 0) continue;
    const double end = max ? field.max : field.min;
    if (auto* const* number = std::get_if<int64_t*>(&field.value)) {
      **number = static_cast<int64_t>(end);
    } else if (auto* const* real = std::get_if<double*>(&field.value)) {
      **real = end;
    }
  }
  return GatewayOptionsFromConfig(config);
}

}  // namespace

TEST_CASE("what the config's ranges allow the gateway takes") {
  CHECK(AtEnd(false).Validate().ToString() == "OK");
  CHECK(AtEnd(true).Validate().ToString() == "OK");
}

TEST_CASE("every option of the sections arrives, in its unit") {
  Config config;
  GatewayConfig& c = config.gateway;
  PoolsConfig& p = config.pools;
  c.listen_address = "::";
  c.port = 65535;
  p.decode = {"d:1", "d:2"};
  p.prefill = {"p:1"};
  p.retry_share = 0.5;
  c.served_model_names = {"m"};
  c.api_keys_file = "keys";
  c.cors_allow_origin = "*";
  c.default_emission = "speculative";
  int64_t next = 100;
  for (int64_t* value : {&c.chat_max_tokens_default,
                         &c.max_body_mib,
                         &c.max_header_kib,
                         &c.max_choices,
                         &c.max_logprobs,
                         &c.max_stops,
                         &c.max_stop_bytes,
                         &c.max_connections,
                         &c.max_requests,
                         &c.max_buffered_events,
                         &c.max_grpc_message_mib,
                         &c.retry_after_s,
                         &c.header_timeout_s,
                         &c.body_timeout_s,
                         &c.keep_alive_timeout_s,
                         &c.write_timeout_s,
                         &c.request_timeout_s,
                         &c.stall_timeout_s,
                         &p.info_interval_ms,
                         &p.info_timeout_ms,
                         &c.io_threads,
                         &c.text_threads,
                         &p.resolve_interval_ms}) {
    *value = next++;
  }
  c.page = false;
  c.vllm_metrics = false;
  const GatewayOptions o = GatewayOptionsFromConfig(config);
  CHECK((o.http.listen_address == "::" && o.http.port == 65535));
  CHECK((o.pool.decode == p.decode && o.pool.prefill == p.prefill));
  CHECK(o.pool.retry_share == 0.5);
  CHECK(o.served_model_names == c.served_model_names);
  CHECK((o.api_keys_file == "keys" && o.cors_allow_origin == "*"));
  CHECK(o.default_emission == v1::EMISSION_SPECULATIVE);
  CHECK(o.chat_max_tokens_default == 100);
  CHECK(o.http.max_body_bytes == 101 << 20);
  CHECK(o.http.max_header_bytes == 102 << 10);
  CHECK((o.limits.max_choices == 103 && o.limits.max_logprobs == 104));
  CHECK((o.limits.max_stops == 105 && o.limits.max_stop_bytes == 106));
  CHECK((o.http.max_connections == 107 && o.max_requests == 108));
  CHECK((o.max_buffered_events == 109 && o.max_grpc_message_bytes == 110 << 20));
  CHECK(o.retry_after_s == 111);
  CHECK(o.http.header_timeout == absl::Seconds(112));
  CHECK(o.http.body_timeout == absl::Seconds(113));
  CHECK(o.http.keep_alive_timeout == absl::Seconds(114));
  CHECK(o.http.write_timeout == absl::Seconds(115));
  CHECK(o.request_timeout == absl::Seconds(116));
  CHECK(o.stall_timeout == absl::Seconds(117));
  CHECK(o.pool.info_interval == absl::Milliseconds(118));
  CHECK(o.pool.info_timeout == absl::Milliseconds(119));
  CHECK(o.pool.resolve_interval == absl::Milliseconds(122));
  CHECK((o.io_threads == 120 && o.text_threads == 121 && !o.page && !o.vllm_metrics));
  c.default_emission = "verified";
  CHECK(GatewayOptionsFromConfig(config).default_emission == v1::EMISSION_VERIFIED);
}

}  // namespace lynx
