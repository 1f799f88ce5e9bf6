// A request's trace as Chrome's trace format, which Perfetto and chrome://tracing show.
#pragma once

#include <string>
#include <vector>

#include "proto/lynx.pb.h"

namespace lynx {

// One server's part.
struct TracedProcess {
  std::string name;  // "decode 10.0.0.7:8201"
  v1::TraceReply trace;
};

struct RequestTraceParts {
  std::string request_id;
  std::string trace_id{};  // of its W3C trace context; empty: it had none
  std::vector<TracedProcess> processes{};
  std::vector<std::string> problems{};  // servers that did not tell theirs, and why
};

// A process a server, a thread a track. Times are microseconds since the earliest span; between
// machines they are as good as the machines' clocks.
std::string ChromeTrace(const RequestTraceParts& parts);

}  // namespace lynx
