// Logging: one line a change of state, key=value, with the request's id; never prompt text. Use
// spdlog's functions (spdlog::info("event words key={}", value)) after InitLogging.
#pragma once

#include <spdlog/spdlog.h>

#include <string>
#include <string_view>

namespace lynx {

enum class LogFormat {
  kText,  // 2026-01-31T12:00:00.123+0100 level=info role=decode event words key=value
  kJson,  // {"time": ..., "level": ..., "role": ..., "event": "event words", "key": "value"}
};

// Call once in main. `role` ("gateway", "prefill", "decode", "lynx") stands in each line. Lines go
// to stderr. `level`: trace, debug, info, warn, error.
void InitLogging(const std::string& role, const std::string& level,
                 LogFormat format = LogFormat::kText);

// A value that others made (an error's message, a name) as a line may hold it: as it is if that is
// plain, else in quotes, with \", \\, \n and \xNN for what would end the value or the line.
std::string LogValue(std::string_view value);

// A line's part behind the role as the members of a JSON object, without the braces: the words
// before the first key=value are its "event" (where no key of that name is), every value is a
// string. What is not of that form becomes the member "message". Control characters and bytes that
// are not UTF-8 are escaped or replaced.
std::string LogFieldsAsJson(std::string_view line);

}  // namespace lynx
