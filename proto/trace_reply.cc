#include "proto/trace_reply.h"

#include <chrono>

namespace lynx {

v1::TraceReply ToProto(const RequestTrace& trace, const Clock& clock) {
  const int64_t unix_ns = std::chrono::duration_cast<Nanos>(
                              std::chrono::system_clock::now().time_since_epoch() - clock.Now())
                              .count();
  const RequestTrace::Content content = trace.content();
  v1::TraceReply reply;
  for (const TraceSpan& span : content.spans) {
    v1::TraceSpan* out = reply.add_spans();
    out->set_track(span.track);
    out->set_name(span.name);
    out->set_begin_ns(unix_ns + span.begin.count());
    out->set_end_ns(unix_ns + span.end.count());
    for (const TraceArg& arg : span.args) {
      if (arg.name == nullptr) continue;
      v1::TraceArg* told = out->add_args();
      told->set_name(arg.name);
      told->set_value(arg.value);
    }
  }
  reply.set_spans_dropped(content.spans_dropped);
  for (const RequestTrace::Peer& peer : content.peers) {
    v1::TracePeer* told = reply.add_peers();
    told->set_address(peer.address);
    told->set_request_id(peer.request_id);
  }
  return reply;
}

absl::StatusOr<v1::TraceReply> FindTrace(const TraceBook& book, std::string_view request_id,
                                         const Clock& clock) {
  const TracePtr trace = book.Find(request_id);
  if (trace == nullptr) {
    return absl::NotFoundError("this server has no trace of that request, or no more");
  }
  return ToProto(*trace, clock);
}

}  // namespace lynx
