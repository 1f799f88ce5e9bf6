// What this process did for its latest requests, and when: the part of it that `lynx trace` shows.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "runtime/clock.h"

namespace lynx {

struct TraceArg {
  const char* name = nullptr;  // static; nullptr: no argument
  int64_t value = 0;
};

struct TraceSpan {
  const char* track = "";  // static: what is shown in one row, "anchor"
  const char* name = "";   // static
  Nanos begin{0};          // of the process' clock
  Nanos end{0};            // as `begin`: a moment
  std::array<TraceArg, 3> args{};
};

// Threads: any.
class RequestTrace {
 public:
  // A server that took the request over from here, and its name there.
  struct Peer {
    std::string address;
    std::string request_id;
  };
  struct Content {
    std::vector<TraceSpan> spans;  // in the order of Add
    int64_t spans_dropped = 0;     // beyond the limit
    std::vector<Peer> peers;
  };

  RequestTrace(std::string request_id, std::string trace_id, size_t spans_max)
      : request_id_(std::move(request_id)), trace_id_(std::move(trace_id)), spans_max_(spans_max) {}

  const std::string& request_id() const { return request_id_; }
  // Of its W3C trace context (runtime/trace_context.h); empty: it had none.
  const std::string& trace_id() const { return trace_id_; }
  void Add(const TraceSpan& span);
  void AddPeer(Peer peer);
  Content content() const;

 private:
  const std::string request_id_;
  const std::string trace_id_;
  const size_t spans_max_;
  mutable absl::Mutex mu_;
  Content content_ ABSL_GUARDED_BY(mu_);
};

// What may be null: a request that is not traced.
using TracePtr = std::shared_ptr<RequestTrace>;

inline void AddSpan(const TracePtr& trace, const TraceSpan& span) {
  if (trace != nullptr) trace->Add(span);
}

// Something that takes no time.
inline void AddMoment(const TracePtr& trace, const char* track, const char* name, Nanos at,
                      TraceArg first = {}, TraceArg second = {}) {
  AddSpan(trace,
          {.track = track, .name = name, .begin = at, .end = at, .args = {{first, second, {}}}});
}

struct TraceLimits {
  int64_t requests = 128;  // the latest ones; 0: nothing is traced
  int64_t spans = 2048;    // of each
};

// Threads: any.
class TraceBook {
 public:
  explicit TraceBook(const TraceLimits& limits) : limits_(limits) {}

  // A new request's trace, for which the oldest gives way. Null if nothing is traced.
  TracePtr Open(std::string request_id, std::string_view trace_id = {});
  // The newest of that name; null: none, or it has given way.
  TracePtr Find(std::string_view request_id) const;

 private:
  const TraceLimits limits_;
  mutable absl::Mutex mu_;
  std::deque<TracePtr> traces_ ABSL_GUARDED_BY(mu_);  // oldest first
};

}  // namespace lynx
