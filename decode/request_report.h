// What is written down of a request: its trace and its line in the log.
#pragma once

#include "decode/request.h"
#include "runtime/clock.h"
#include "runtime/status.h"
#include "transfer/receiver.h"

namespace lynx::decode {

// A frame's blocks came.
void TraceFrame(const Request& request, const Completion& completion);
// Its rows of a pass of the model, which had `pass_rows` in all.
void TraceRows(const Request& request, State state, int64_t first_index, int64_t rows,
               int64_t pass_rows, Nanos begin, Nanos end);
// The request is over; `log`: with a line of its own.
void ReportEnd(const Request& request, const absl::Status& status, Nanos now, bool log);

}  // namespace lynx::decode
