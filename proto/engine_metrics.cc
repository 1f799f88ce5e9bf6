#include "proto/engine_metrics.h"

#include "proto/engine_server.h"
#include "proto/identity_fields.h"

namespace lynx {

absl::StatusOr<std::unique_ptr<MetricsServer>> StartMetricsServer(
    const EngineServerOptions& options, std::function<std::string()> text) {
  if (options.metrics_port < 0) return nullptr;
  return MetricsServer::Start({.listen_address = options.listen_host, .port = options.metrics_port},
                              std::move(text));
}

void AddEngineFamilies(const v1::ServerInfo& info, MetricFamilies* families) {
  MetricLabels labels = {{"role", info.role()}, {"model_name", info.model_name()}};
  for (const auto& [name, get] : kIdentityFields)
    labels.emplace_back(name, (info.identity().*get)());
  families->Process(labels);
  const auto total = static_cast<double>(info.pages_total());
  const auto free = static_cast<double>(info.pages_free());
  families->Gauge("lynx_num_requests_running", "Requests that hold KV memory",
                  info.requests_running());
  families->Gauge("lynx_num_requests_waiting", "Requests that wait for KV memory",
                  info.requests_waiting());
  families->Gauge("lynx_kv_cache_usage_perc", "Used part of the KV pages, 0 to 1",
                  total > 0 ? (total - free) / total : 0);
  families->Gauge("lynx_kv_pages", "Pages of a prompt's KV that there is memory for", total);
  families->Gauge("lynx_kv_pages_free", "Pages of a prompt's KV that are free", free);
}

}  // namespace lynx
