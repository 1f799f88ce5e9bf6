#include "decode/request_report.h"

#include "runtime/log.h"
#include "runtime/trace_context.h"

namespace lynx::decode {
namespace {

const char* NameOf(State state) {
  switch (state) {
    case State::kDrafting:
      return "draft";
    case State::kVerifying:
      return "verify";
    default:
      return "decode";
  }
}

double Ms(Nanos time) { return std::chrono::duration<double, std::milli>(time).count(); }

}  // namespace

void TraceFrame(const Request& request, const Completion& completion) {
  AddSpan(request.trace, {.track = kBlockClassNames[static_cast<int>(ClassOf(completion.kind))],
                          .name = "frame",
                          .begin = completion.begun,
                          .end = completion.landed,
                          .args = {{{"layer", completion.layer},
                                    {"page", completion.first_page},
                                    {"bytes", static_cast<int64_t>(completion.bytes)}}}});
}

void TraceRows(const Request& request, State state, int64_t first_index, int64_t rows,
               int64_t pass_rows, Nanos begin, Nanos end) {
  AddSpan(request.trace,
          {.track = "passes",
           .name = NameOf(state),
           .begin = begin,
           .end = end,
           .args = {{{"index", first_index}, {"rows", rows}, {"pass_rows", pass_rows}}}});
}

void ReportEnd(const Request& request, const absl::Status& status, Nanos now, bool log) {
  const auto tokens = static_cast<int64_t>(request.sequence.committed().size());
  AddSpan(request.trace, {.track = "request",
                          .name = "request",
                          .begin = request.submitted,
                          .end = now,
                          .args = {{{"prompt_tokens", request.prompt_tokens()},
                                    {"tokens", tokens},
                                    {"code", static_cast<int64_t>(status.code())}}}});
  if (!log) return;
  const v1::GenerateRequest& proto = request.proto;
  const v1::GenerateStats& stats = request.stats;
  spdlog::info(
      "request done request={} trace={} code={} prefill={} prompt_tokens={} tokens={} drafted={} "
      "accepted={} rolled_back={} first_token_ms={:.1f} total_ms={:.1f} reason={}",
      LogValue(proto.request_id()), LogValue(TraceId(proto.trace().parent())),
      absl::StatusCodeToString(status.code()),
      LogValue(request.next_address > 0 ? proto.prefill_addresses(request.next_address - 1) : ""),
      request.prompt_tokens(), tokens, stats.drafted(), stats.accepted(), stats.rolled_back(),
      stats.first_token_ms(), Ms(now - request.submitted), LogValue(std::string(status.message())));
}

}  // namespace lynx::decode
