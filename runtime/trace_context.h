// W3C Trace Context (https://www.w3.org/TR/trace-context/), as far as it is passed on.
#pragma once

#include <string_view>

namespace lynx {

// A traceparent header that may be passed on: version, trace id, parent id and flags in lower-case
// hex; of a later version with whatever follows.
bool IsTraceParent(std::string_view header);
// A tracestate header that may be passed on: printable, at most 512 characters.
bool IsTraceState(std::string_view header);

// The 32 digits that all spans of a trace share; empty: `parent` is not valid.
std::string_view TraceId(std::string_view parent);

}  // namespace lynx
