// Logging: one line a change of state, key=value, with the request's id; never prompt text. Use
// spdlog's functions (spdlog::info("event key={}", value)); this header only sets them up.
#pragma once

#include <spdlog/spdlog.h>

#include <string>

namespace lynx {

// Call once in main. `role` ("gateway", "prefill", "decode", "lynx") stands in each line. Lines go
// to stderr. `level`: trace, debug, info, warn, error.
void InitLogging(const std::string& role, const std::string& level);

}  // namespace lynx
