#include "gateway/trace_json.h"

#include <catch2/catch.hpp>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

namespace lynx {
namespace {

using nlohmann::json;

void AddSpan(v1::TraceReply* trace, const char* track, const char* name, int64_t begin_ns,
             int64_t end_ns) {
  v1::TraceSpan* span = trace->add_spans();
  span->set_track(track);
  span->set_name(name);
  span->set_begin_ns(begin_ns);
  span->set_end_ns(end_ns);
}

TEST_CASE("a trace in Chrome's format", "[trace]") {
  RequestTraceParts parts{.request_id = "r", .trace_id = "t"};
  parts.processes.resize(2);
  parts.processes[0].name = "gateway";
  AddSpan(&parts.processes[0].trace, "request", "request", 5'000'001'000, 5'000'009'500);
  parts.processes[1].name = "decode 1.2.3.4:5";
  AddSpan(&parts.processes[1].trace, "tokens", "committed", 5'000'004'000, 5'000'004'000);
  v1::TraceArg* arg = parts.processes[1].trace.mutable_spans(0)->add_args();
  arg->set_name("index");
  arg->set_value(-3);
  parts.processes[1].trace.set_spans_dropped(7);
  parts.problems.push_back("prefill 1.2.3.4:6: gone");

  const json trace = json::parse(ChromeTrace(parts));
  CHECK(trace["otherData"] == json({{"request", "r"},
                                    {"trace_id", "t"},
                                    {"spans_left_out", 7},
                                    {"problems", {"prefill 1.2.3.4:6: gone"}}}));
  std::map<std::string, json> events;
  for (const json& event : trace["traceEvents"]) {
    if (event["ph"] != "M") events[event["name"]] = event;
  }
  REQUIRE(events.size() == 2);
  CHECK(events["request"]["ph"] == "X");
  CHECK(events["request"]["ts"] == 0.0);
  CHECK(events["request"]["dur"] == 8.5);
  CHECK(events["committed"]["ph"] == "i");
  CHECK(events["committed"]["ts"] == 3.0);
  CHECK(events["committed"]["args"] == json({{"index", -3}}));
  CHECK(events["committed"]["pid"] != events["request"]["pid"]);
}

TEST_CASE("spans of a thread follow each other or nest", "[trace]") {
  // Every pair of intervals over six moments, in one track.
  RequestTraceParts parts;
  parts.processes.resize(1);
  for (int64_t begin = 0; begin < 6; ++begin) {
    for (int64_t end = begin; end < 6; ++end) {
      AddSpan(&parts.processes[0].trace, "t", "s", begin * 1000, end * 1000);
    }
  }
  std::map<int, std::vector<std::pair<double, double>>> threads;
  const json trace = json::parse(ChromeTrace(parts));
  size_t spans = 0;
  for (const json& event : trace["traceEvents"]) {
    if (event["ph"] == "M") continue;
    ++spans;
    const double begin = event["ts"], end = begin + event.value("dur", 0.0);
    for (const auto& [other_begin, other_end] : threads[event["tid"]]) {
      const bool apart = end <= other_begin || other_end <= begin;
      const bool inside = other_begin <= begin && end <= other_end;
      const bool around = begin <= other_begin && other_end <= end;
      INFO(begin << " " << end << " " << other_begin << " " << other_end);
      CHECK((apart || inside || around));
    }
    threads[event["tid"]].emplace_back(begin, end);
  }
  CHECK(spans == 21);
  CHECK(threads.size() > 1);
}

TEST_CASE("a trace without any span is a trace", "[trace]") {
  const json trace = json::parse(ChromeTrace({.request_id = "r"}));
  CHECK(trace["traceEvents"].empty());
}

}  // namespace
}  // namespace lynx
