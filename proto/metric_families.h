// Families of metrics that are made at a scrape, from numbers that somebody keeps. For the
// text of /metrics; docs/metrics.md lists all of them.
#pragma once

#include <prometheus/metric_family.h>

#include <string>
#include <utility>
#include <vector>

#include "runtime/measures.h"

namespace lynx {

using MetricLabels = std::vector<std::pair<std::string, std::string>>;

// The edges in the type that prometheus-cpp has for them.
inline std::vector<double> ToVector(BucketEdges edges) { return {edges.begin(), edges.end()}; }

// Not thread-safe.
class MetricFamilies {
 public:
  MetricFamilies() = default;
  explicit MetricFamilies(std::vector<prometheus::MetricFamily> families)
      : families_(std::move(families)) {}

  // A family's first sample comes with its help; further ones, with other labels, follow at once
  // and repeat it.
  void Counter(const std::string& name, const std::string& help, double value,
               const MetricLabels& labels = {});
  void Gauge(const std::string& name, const std::string& help, double value,
             const MetricLabels& labels = {});
  // Any arithmetic type.
  template <typename T>
  void Counter(const std::string& name, const std::string& help, T value,
               const MetricLabels& labels = {}) {
    Counter(name, help, static_cast<double>(value), labels);
  }
  void Counter(const std::string& name, const std::string& help, const EventCount& events,
               const MetricLabels& labels = {}) {
    Counter(name, help, static_cast<double>(events.value()), labels);
  }
  template <typename T>
  void Gauge(const std::string& name, const std::string& help, T value,
             const MetricLabels& labels = {}) {
    Gauge(name, help, static_cast<double>(value), labels);
  }
  void Histogram(const std::string& name, const std::string& help, const Distribution& values);

  // Of this process: what it is (lynx_build_info with `identity` as labels), since when, and what
  // it takes.
  void Process(const MetricLabels& identity);

  // Dashboards and endpoint pickers made for vLLM find what has the same meaning under their names,
  // too.
  void AddVllmNames(const std::string& model);

  const std::vector<prometheus::MetricFamily>& families() const { return families_; }
  // Prometheus' text format.
  std::string Text() const;

 private:
  prometheus::ClientMetric& Sample(const std::string& name, const std::string& help,
                                   prometheus::MetricType type, const MetricLabels& labels);

  std::vector<prometheus::MetricFamily> families_;
};

}  // namespace lynx
