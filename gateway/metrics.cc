#include "gateway/metrics.h"

#include "absl/strings/str_cat.h"
#include "proto/metric_families.h"

namespace lynx {
namespace {

double UsedPart(int64_t total, int64_t free) {
  return total > 0 ? static_cast<double>(total - free) / static_cast<double>(total) : 0;
}

}  // namespace

GatewayMetrics::GatewayMetrics(bool vllm_names)
    : vllm_names_(vllm_names),
      http_(prometheus::BuildCounter()
                .Name("lynx_http_requests_total")
                .Help("HTTP requests answered")
                .Register(registry_)),
      success_(prometheus::BuildCounter()
                   .Name("lynx_request_success_total")
                   .Help("Choices that ended well")
                   .Register(registry_)),
      first_token_(Spread("lynx_time_to_first_token_seconds", "Arrival to first committed token",
                          kFirstTokenEdges_s)),
      inter_token_(Spread("lynx_inter_token_latency_seconds",
                          "Between a choice's token events, divided by their tokens",
                          kTokenEdges_s)),
      per_token_(Spread("lynx_request_time_per_output_token_seconds",
                        "Arrival to end, divided by tokens", kTokenEdges_s)),
      e2e_(Spread("lynx_e2e_request_latency_seconds", "Arrival to end", kRequestEdges_s)),
      prompt_tokens_(Count("lynx_prompt_tokens_total", "Prompt tokens of finished requests")),
      generation_tokens_(Count("lynx_generation_tokens_total", "Tokens given to clients")),
      clients_gone_(Count("lynx_clients_gone_total", "Requests whose client closed early")),
      drafted_(Count("lynx_drafted_tokens_total", "Tokens drafted on the Anchor")),
      accepted_(Count("lynx_accepted_tokens_total", "Drafted tokens that were committed")),
      rolled_back_(Count("lynx_rolled_back_tokens_total", "Drafted tokens that were taken back")),
      anchor_bytes_(Count("lynx_anchor_bytes_total", "Anchor bytes received by decode servers")),
      residual_bytes_(
          Count("lynx_residual_bytes_total", "Residual bytes received by decode servers")),
      in_flight_(Level("lynx_gateway_requests_in_flight", "Requests that this gateway handles")),
      connections_(Level("lynx_gateway_connections", "Open client connections")),
      running_(Level("lynx_num_requests_running", "Running on the decode servers")),
      waiting_(Level("lynx_num_requests_waiting", "Waiting at the decode servers")),
      kv_usage_(Level("lynx_kv_cache_usage_perc", "Used part of the KV pages, 0 to 1")),
      prefill_kv_usage_(Level("lynx_prefill_kv_cache_usage_perc",
                              "Used part of the prefill servers' KV pages, 0 to 1")),
      decode_ready_(Level("lynx_decode_servers_ready", "Decode servers that take requests")),
      prefill_ready_(Level("lynx_prefill_servers_ready", "Prefill servers that answer")) {}

prometheus::Counter& GatewayMetrics::Count(const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry_).Add({});
}

prometheus::Gauge& GatewayMetrics::Level(const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry_).Add({});
}

prometheus::Histogram& GatewayMetrics::Spread(const char* name, const char* help,
                                              BucketEdges edges) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry_).Add(
      {}, ToVector(edges));
}

void GatewayMetrics::Http(const std::string& route, int status) {
  http_.Add({{"route", route}, {"status", absl::StrCat(status)}}).Increment();
}

void GatewayMetrics::ChoiceFinished(Finish finish) {
  success_.Add({{"finished_reason", finish == Finish::kStop ? "stop" : "length"}}).Increment();
}

void GatewayMetrics::RequestFinished(double seconds, int64_t prompt_tokens,
                                     int64_t completion_tokens) {
  e2e_.Observe(seconds);
  if (completion_tokens > 0) per_token_.Observe(seconds / static_cast<double>(completion_tokens));
  prompt_tokens_.Increment(static_cast<double>(prompt_tokens));
  generation_tokens_.Increment(static_cast<double>(completion_tokens));
}

void GatewayMetrics::Speculation(const v1::GenerateStats& stats) {
  drafted_.Increment(static_cast<double>(stats.drafted()));
  accepted_.Increment(static_cast<double>(stats.accepted()));
  rolled_back_.Increment(static_cast<double>(stats.rolled_back()));
  anchor_bytes_.Increment(static_cast<double>(stats.anchor_bytes()));
  residual_bytes_.Increment(static_cast<double>(stats.residual_bytes()));
}

std::string GatewayMetrics::Text(const PoolState& pool, int64_t requests_in_flight,
                                 int64_t connections) {
  in_flight_.Set(static_cast<double>(requests_in_flight));
  connections_.Set(static_cast<double>(connections));
  running_.Set(static_cast<double>(pool.requests_running));
  waiting_.Set(static_cast<double>(pool.requests_waiting));
  kv_usage_.Set(UsedPart(pool.pages_total, pool.pages_free));
  prefill_kv_usage_.Set(UsedPart(pool.prefill_pages_total, pool.prefill_pages_free));
  decode_ready_.Set(static_cast<double>(pool.decode_ready));
  prefill_ready_.Set(static_cast<double>(pool.prefill_ready));
  MetricFamilies families(registry_.Collect());
  families.Process({{"role", "gateway"}, {"model_name", pool.model_name}});
  if (vllm_names_) families.AddVllmNames(pool.model_name);
  return families.Text();
}

}  // namespace lynx
