#include "runtime/request_trace.h"

#include <algorithm>
#include <utility>

namespace lynx {

void RequestTrace::Add(const TraceSpan& span) {
  absl::MutexLock lock(&mu_);
  if (content_.spans.size() < spans_max_) {
    content_.spans.push_back(span);
  } else {
    ++content_.spans_dropped;
  }
}

void RequestTrace::AddPeer(Peer peer) {
  absl::MutexLock lock(&mu_);
  content_.peers.push_back(std::move(peer));
}

RequestTrace::Content RequestTrace::content() const {
  absl::MutexLock lock(&mu_);
  return content_;
}

TracePtr TraceBook::Open(std::string request_id, std::string_view trace_id) {
  if (limits_.requests <= 0) return nullptr;
  auto trace = std::make_shared<RequestTrace>(std::move(request_id), std::string(trace_id),
                                              static_cast<size_t>(limits_.spans));
  TracePtr oldest;  // goes without the lock
  absl::MutexLock lock(&mu_);
  traces_.push_back(trace);
  if (std::ssize(traces_) > limits_.requests) {
    oldest = std::move(traces_.front());
    traces_.pop_front();
  }
  return trace;
}

TracePtr TraceBook::Find(std::string_view request_id) const {
  absl::MutexLock lock(&mu_);
  const auto found = std::find_if(traces_.rbegin(), traces_.rend(), [&](const TracePtr& trace) {
    return trace->request_id() == request_id;
  });
  return found == traces_.rend() ? nullptr : *found;
}

}  // namespace lynx
