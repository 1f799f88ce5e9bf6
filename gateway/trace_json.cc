#include "gateway/trace_json.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gateway/logprob_json.h"

namespace lynx {
namespace {

// Spans of a thread must follow each other or nest: what overlaps goes to a further one.
class Lane {
 public:
  bool Take(int64_t begin, int64_t end) {
    while (!open_.empty() && open_.back() <= begin) open_.pop_back();
    if (!open_.empty() && open_.back() < end) return false;
    open_.push_back(end);
    return true;
  }

 private:
  std::vector<int64_t> open_;  // ends, the outermost first
};

int64_t Earliest(const RequestTraceParts& parts) {
  int64_t earliest = std::numeric_limits<int64_t>::max();
  for (const TracedProcess& process : parts.processes) {
    for (const v1::TraceSpan& span : process.trace.spans()) {
      earliest = std::min(earliest, span.begin_ns());
    }
  }
  return earliest;
}

double Us(int64_t ns) { return static_cast<double>(ns) / 1e3; }

OrderedJson Name(const char* what, int pid, int tid, const std::string& name) {
  return {{"ph", "M"}, {"name", what}, {"pid", pid}, {"tid", tid}, {"args", {{"name", name}}}};
}

OrderedJson Event(const v1::TraceSpan& span, int64_t origin_ns, int pid, int tid) {
  OrderedJson event = {{"name", span.name()},
                       {"cat", span.track()},
                       {"pid", pid},
                       {"tid", tid},
                       {"ts", Us(span.begin_ns() - origin_ns)}};
  if (span.end_ns() > span.begin_ns()) {
    event["ph"] = "X";
    event["dur"] = Us(span.end_ns() - span.begin_ns());
  } else {
    event["ph"] = "i";
    event["s"] = "t";
  }
  OrderedJson& args = event["args"] = OrderedJson::object();
  for (const v1::TraceArg& arg : span.args()) args[arg.name()] = arg.value();
  return event;
}

class ProcessEvents {
 public:
  ProcessEvents(int pid, OrderedJson* events) : pid_(pid), events_(*events) {}

  void Add(const TracedProcess& process, int64_t origin_ns) {
    events_.push_back(Name("process_name", pid_, 0, process.name));
    std::vector<const v1::TraceSpan*> spans;
    for (const v1::TraceSpan& span : process.trace.spans()) spans.push_back(&span);
    // The outer of two that begin together first.
    std::stable_sort(spans.begin(), spans.end(), [](const auto* a, const auto* b) {
      return std::pair(a->begin_ns(), -a->end_ns()) < std::pair(b->begin_ns(), -b->end_ns());
    });
    for (const v1::TraceSpan* span : spans) {
      events_.push_back(Event(*span, origin_ns, pid_, ThreadOf(*span)));
    }
  }

 private:
  struct Track {
    std::vector<std::pair<int, Lane>> lanes;  // with their threads
  };

  int ThreadOf(const v1::TraceSpan& span) {
    Track& track = tracks_[span.track()];
    for (auto& [tid, lane] : track.lanes) {
      if (lane.Take(span.begin_ns(), span.end_ns())) return tid;
    }
    const int tid = ++threads_;
    const std::string name = track.lanes.empty()
                                 ? span.track()
                                 : absl::StrCat(span.track(), " ", track.lanes.size() + 1);
    track.lanes.emplace_back(tid, Lane()).second.Take(span.begin_ns(), span.end_ns());
    events_.push_back(Name("thread_name", pid_, tid, name));
    return tid;
  }

  const int pid_;
  OrderedJson& events_;
  int threads_ = 0;
  std::map<std::string, Track> tracks_;
};

}  // namespace

std::string ChromeTrace(const RequestTraceParts& parts) {
  const int64_t origin_ns = Earliest(parts);
  OrderedJson events = OrderedJson::array();
  OrderedJson about = {{"request", parts.request_id}};
  if (!parts.trace_id.empty()) about["trace_id"] = parts.trace_id;
  int pid = 0;
  int64_t dropped = 0;
  for (const TracedProcess& process : parts.processes) {
    ProcessEvents(++pid, &events).Add(process, origin_ns);
    dropped += process.trace.spans_dropped();
  }
  if (dropped > 0) about["spans_left_out"] = dropped;
  if (!parts.problems.empty()) about["problems"] = parts.problems;
  const OrderedJson trace = {
      {"displayTimeUnit", "ms"}, {"otherData", about}, {"traceEvents", std::move(events)}};
  return trace.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

}  // namespace lynx
