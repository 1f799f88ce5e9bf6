// A request's trace as a server tells it.
#pragma once

#include <string_view>

#include "proto/lynx.pb.h"
#include "runtime/clock.h"
#include "runtime/request_trace.h"
#include "runtime/status.h"

namespace lynx {

// Times of `clock` become Unix times of this moment's difference between the two.
v1::TraceReply ToProto(const RequestTrace& trace, const Clock& clock);

// NOT_FOUND: no such request, or it has given way to later ones.
absl::StatusOr<v1::TraceReply> FindTrace(const TraceBook& book, std::string_view request_id,
                                         const Clock& clock);

}  // namespace lynx
