#include "gateway/metrics.h"

#include <prometheus/text_serializer.h>

#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"

namespace lynx {
namespace {

const prometheus::Histogram::BucketBoundaries kFirstTokenEdges = {
    .001, .005, .01, .02, .04, .06, .08, .1, .25, .5,  .75,
    1,    2.5,  5,   7.5, 10,  20,  40,  80, 160, 640, 2560};
const prometheus::Histogram::BucketBoundaries kTokenEdges = {
    .0005, .001, .0025, .005, .01, .015, .02, .025, .03, .04, .05, .075,
    .1,    .15,  .2,    .3,   .4,  .5,   .75, 1,    2.5, 5,   10,  80};
const prometheus::Histogram::BucketBoundaries kRequestEdges = {
    .3, .5, .8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680};

// lynx_X is also vllm:X.
constexpr std::string_view kVllmNames[] = {"num_requests_waiting",
                                           "num_requests_running",
                                           "kv_cache_usage_perc",
                                           "prompt_tokens_total",
                                           "generation_tokens_total",
                                           "request_success_total",
                                           "time_to_first_token_seconds",
                                           "inter_token_latency_seconds",
                                           "request_time_per_output_token_seconds",
                                           "e2e_request_latency_seconds"};

void AddVllmNames(const std::string& model, std::vector<prometheus::MetricFamily>* families) {
  std::vector<prometheus::MetricFamily> copies;
  for (const prometheus::MetricFamily& family : *families) {
    for (std::string_view name : kVllmNames) {
      const absl::string_view suffix(name.data(), name.size());
      if (family.name != absl::StrCat("lynx_", suffix)) continue;
      prometheus::MetricFamily copy = family;
      copy.name = absl::StrCat("vllm:", suffix);
      for (prometheus::ClientMetric& metric : copy.metric) {
        metric.label.push_back({"model_name", model});
      }
      copies.push_back(std::move(copy));
    }
  }
  for (prometheus::MetricFamily& copy : copies) families->push_back(std::move(copy));
}

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
                          kFirstTokenEdges)),
      inter_token_(Spread("lynx_inter_token_latency_seconds",
                          "Between a choice's token events, divided by their tokens", kTokenEdges)),
      per_token_(Spread("lynx_request_time_per_output_token_seconds",
                        "Arrival to end, divided by tokens", kTokenEdges)),
      e2e_(Spread("lynx_e2e_request_latency_seconds", "Arrival to end", kRequestEdges)),
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

prometheus::Histogram& GatewayMetrics::Spread(
    const char* name, const char* help, const prometheus::Histogram::BucketBoundaries& edges) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry_).Add({}, edges);
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
  std::vector<prometheus::MetricFamily> families = registry_.Collect();
  if (vllm_names_) AddVllmNames(pool.model_name, &families);
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace lynx
