// What is written down of a run: its trace and its line in the log.
#pragma once

#include "prefill/run.h"
#include "runtime/clock.h"
#include "runtime/status.h"

namespace lynx::prefill {

// The run waited for something.
void TraceWait(const Run& run, const char* name, Nanos begin, Nanos end);
// Its `rows` of a pass of the model, which had `pass_rows` in all.
void TraceChunk(const Run& run, int64_t rows, int64_t pass_rows, Nanos begin, Nanos end);
// The run is over; `log`: with a line of its own.
void ReportEnd(const Run& run, const absl::Status& status, Nanos now, bool log);

}  // namespace lynx::prefill
