#include "runtime/log.h"

#include <spdlog/sinks/stdout_sinks.h>

namespace lynx {

void InitLogging(const std::string& role, const std::string& level) {
  auto logger = spdlog::stderr_logger_mt("lynx");
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z level=%l role=" + role + " %v");
  logger->set_level(spdlog::level::from_str(level));
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(logger);
}

}  // namespace lynx
