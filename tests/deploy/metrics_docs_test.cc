// docs/metrics.md lists what /metrics of all servers shows. `metrics_docs_test "[.write]"` makes
// its table again.
#include <catch2/catch.hpp>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "decode/metrics.h"
#include "gateway/metrics.h"
#include "prefill/metrics.h"

namespace lynx {
namespace {

const char kDocs[] = LYNX_SOURCE_DIR "/docs/metrics.md";
const char kMark[] = "<!-- Below: made from the servers' metrics. -->\n";

struct Metric {
  std::string type, help;
  std::set<std::string> roles, labels;
};
using Metrics = std::map<std::string, Metric>;

std::string GatewayText() {
  GatewayMetrics metrics(/*vllm_names=*/true);
  metrics.Http("/v1/completions", 200);
  metrics.ChoiceFinished(Finish::kStop);
  return metrics.Text(PoolState{}, 0, 0);
}

std::string TextOf(MetricFamilies families) {
  families.AddVllmNames("m");
  return families.Text();
}

std::string DecodeText() {
  const decode::EngineMeasures measures;
  return TextOf(decode::MakeMetricFamilies(
      {.info = {}, .engine = {}, .measures = measures, .receiver = {}, .data = {}}));
}

std::string PrefillText() {
  const prefill::EngineMeasures measures;
  return TextOf(prefill::MakeMetricFamilies(
      {.info = {}, .engine = {}, .measures = measures, .sender = {}, .data = {}}));
}

// The names of a sample's labels: name{a="x",b="y"} 1.
void AddLabels(const std::string& sample, std::set<std::string>* labels) {
  size_t begin = sample.find('{');
  while (begin != std::string::npos) {
    const size_t equals = sample.find("=\"", begin);
    if (equals == std::string::npos) return;
    const std::string label = sample.substr(begin + 1, equals - begin - 1);
    if (label != "le") labels->insert(label);
    begin = sample.find(',', sample.find('"', equals + 2));
  }
}

void Add(const std::string& role, const std::string& text, Metrics* metrics) {
  std::istringstream lines(text);
  Metric* metric = nullptr;
  for (std::string line; std::getline(lines, line);) {
    if (line[0] != '#') {
      AddLabels(line, &metric->labels);
      continue;
    }
    std::istringstream words(line);
    std::string hash, what, name;
    words >> hash >> what >> name >> std::ws;
    metric = &(*metrics)[name];
    // One text explains a metric, whoever serves it, but for those that the gateway adds up.
    std::string& field = what == "HELP" ? metric->help : metric->type;
    std::string rest;
    std::getline(words, rest);
    if (what == "TYPE" && !field.empty()) CHECK(field == rest);
    if (what == "TYPE") CHECK(metric->roles.insert(role).second);  // a family is there once
    field = rest;
  }
}

Metrics AllMetrics() {
  Metrics metrics;
  Add("gateway", GatewayText(), &metrics);
  Add("decode", DecodeText(), &metrics);
  Add("prefill", PrefillText(), &metrics);
  return metrics;
}

std::string Table() {
  const Metrics metrics = AllMetrics();
  std::string table = "| metric | type | labels | of | meaning |\n|---|---|---|---|---|\n";
  for (const auto& [name, metric] : metrics) {
    if (name.substr(0, 5) == "vllm:") continue;
    const std::string twin = "vllm:" + name.substr(5);
    const bool has_twin = metrics.count(twin) > 0;
    absl::StrAppend(&table, "| `", name, "`", has_twin ? absl::StrCat(" `", twin, "`") : "", " | ",
                    metric.type, " | ", absl::StrJoin(metric.labels, ", "), " | ",
                    absl::StrJoin(metric.roles, ", "), " | ", metric.help, " |\n");
  }
  return table;
}

std::string ReadDocs() {
  std::ifstream file(kDocs);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("docs/metrics.md lists exactly what /metrics shows") {
  const std::string docs = ReadDocs();
  const size_t mark = docs.find(kMark);
  REQUIRE(mark != std::string::npos);
  INFO("metrics_docs_test \"[.write]\" makes the table again");
  CHECK(docs.substr(mark + sizeof kMark) == Table());
}

TEST_CASE("metrics follow Prometheus' rules for names") {
  for (const auto& [name, metric] : AllMetrics()) {
    CAPTURE(name);
    const bool total = name.size() > 6 && name.substr(name.size() - 6) == "_total";
    CHECK(total == (metric.type == "counter"));
    CHECK_FALSE(metric.help.empty());
    CHECK((name.substr(0, 5) == "lynx_" || name.substr(0, 5) == "vllm:"));
  }
}

TEST_CASE("write docs/metrics.md", "[.write]") {
  const std::string docs = ReadDocs();
  const size_t mark = docs.find(kMark);
  REQUIRE(mark != std::string::npos);
  std::ofstream(kDocs) << docs.substr(0, mark) << kMark << "\n" << Table();
}

}  // namespace lynx
