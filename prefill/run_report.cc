#include "prefill/run_report.h"

#include "runtime/log.h"
#include "runtime/trace_context.h"

namespace lynx::prefill {

void TraceWait(const Run& run, const char* name, Nanos begin, Nanos end) {
  AddSpan(run.trace, {.track = "request", .name = name, .begin = begin, .end = end});
}

void TraceChunk(const Run& run, int64_t rows, int64_t pass_rows, Nanos begin, Nanos end) {
  AddSpan(run.trace,
          {.track = "passes",
           .name = "chunk",
           .begin = begin,
           .end = end,
           .args = {{{"position", run.position}, {"rows", rows}, {"pass_rows", pass_rows}}}});
}

void ReportEnd(const Run& run, const absl::Status& status, Nanos now, bool log) {
  AddSpan(run.trace, {.track = "request",
                      .name = "run",
                      .begin = run.submitted,
                      .end = now,
                      .args = {{{"prompt_tokens", run.prompt_tokens()},
                                {"computed", run.position},
                                {"code", static_cast<int64_t>(status.code())}}}});
  if (!log) return;
  spdlog::info(
      "run done request={} trace={} code={} prompt_tokens={} computed={} total_ms={:.1f} reason={}",
      LogValue(run.request.request_id()), LogValue(TraceId(run.request.trace().parent())),
      absl::StatusCodeToString(status.code()), run.prompt_tokens(), run.position,
      std::chrono::duration<double, std::milli>(now - run.submitted).count(),
      LogValue(std::string(status.message())));
}

}  // namespace lynx::prefill
