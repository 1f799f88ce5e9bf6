#include "proto/metric_families.h"

#include <prometheus/text_serializer.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <limits>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace lynx {
namespace {

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
                                           "e2e_request_latency_seconds",
                                           "request_queue_time_seconds",
                                           "request_prefill_time_seconds",
                                           "request_decode_time_seconds"};

constexpr std::string_view kOwnPrefix = "lynx_";

bool HasVllmName(std::string_view name) {
  if (name.substr(0, kOwnPrefix.size()) != kOwnPrefix) return false;
  name.remove_prefix(kOwnPrefix.size());
  return std::find(std::begin(kVllmNames), std::end(kVllmNames), name) != std::end(kVllmNames);
}

// When this was loaded: before main, so as good as the process' start.
const double kStart_s =
    std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();

double ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  double pages_all = 0;
  double pages_resident = 0;
  statm >> pages_all >> pages_resident;
  return pages_resident * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

prometheus::ClientMetric& MetricFamilies::Sample(const std::string& name, const std::string& help,
                                                 prometheus::MetricType type,
                                                 const MetricLabels& labels) {
  if (families_.empty() || families_.back().name != name) {
    families_.push_back({.name = name, .help = help, .type = type, .metric = {}});
  }
  prometheus::ClientMetric& sample = families_.back().metric.emplace_back();
  for (const auto& [label, value] : labels) sample.label.push_back({label, value});
  return sample;
}

void MetricFamilies::Counter(const std::string& name, const std::string& help, double value,
                             const MetricLabels& labels) {
  Sample(name, help, prometheus::MetricType::Counter, labels).counter.value = value;
}

void MetricFamilies::Gauge(const std::string& name, const std::string& help, double value,
                           const MetricLabels& labels) {
  Sample(name, help, prometheus::MetricType::Gauge, labels).gauge.value = value;
}

void MetricFamilies::Histogram(const std::string& name, const std::string& help,
                               const Distribution& values) {
  prometheus::ClientMetric::Histogram& out =
      Sample(name, help, prometheus::MetricType::Histogram, {}).histogram;
  const BucketEdges edges = values.edges();
  for (size_t i = 0; i <= edges.size(); ++i) {
    out.sample_count += values.count(i);
    out.bucket.push_back(
        {.cumulative_count = out.sample_count,
         .upper_bound = i < edges.size() ? edges[i] : std::numeric_limits<double>::infinity()});
  }
  out.sample_sum = values.sum();
}

void MetricFamilies::Process(const MetricLabels& identity) {
  Gauge("lynx_build_info", "1; its labels say what this server is", 1, identity);
  Gauge("lynx_process_start_time_seconds", "Start of the process, since 1970", kStart_s);
  Gauge("lynx_process_resident_memory_bytes", "Resident memory of the process", ResidentBytes());
}

void MetricFamilies::AddVllmNames(const std::string& model) {
  std::vector<prometheus::MetricFamily> copies;
  for (const prometheus::MetricFamily& family : families_) {
    if (!HasVllmName(family.name)) continue;
    prometheus::MetricFamily copy = family;
    copy.name = absl::StrCat("vllm:", family.name.substr(kOwnPrefix.size()));
    for (prometheus::ClientMetric& metric : copy.metric) {
      metric.label.push_back({"model_name", model});
    }
    copies.push_back(std::move(copy));
  }
  for (prometheus::MetricFamily& copy : copies) families_.push_back(std::move(copy));
}

std::string MetricFamilies::Text() const {
  return prometheus::TextSerializer().Serialize(families_);
}

}  // namespace lynx
