#include "runtime/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <memory>
#include <utility>

namespace lynx {
namespace {

constexpr char kTime[] = "%Y-%m-%dT%H:%M:%S.%e%z";

std::string_view ToView(const spdlog::string_view_t& text) { return {text.data(), text.size()}; }

void Append(std::string_view text, spdlog::memory_buf_t* out) {
  out->append(text.data(), text.data() + text.size());
}

// The message (%*), on one line whatever a peer put into it.
class MessageOnOneLine final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& msg, const std::tm&,
              spdlog::memory_buf_t& out) override {
    for (const char c : ToView(msg.payload)) {
      const auto byte = static_cast<unsigned char>(c);
      out.push_back(byte < 0x20 || byte == 0x7f ? ' ' : c);
    }
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<MessageOnOneLine>();
  }
};

class MessageAsJson final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& msg, const std::tm&,
              spdlog::memory_buf_t& out) override {
    const std::string fields = LogFieldsAsJson(ToView(msg.payload));
    if (!fields.empty()) Append(", ", &out);
    Append(fields, &out);
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<MessageAsJson>();
  }
};

template <typename Message>
std::unique_ptr<spdlog::formatter> Formatter(const std::string& pattern) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<Message>('*').set_pattern(pattern);
  return formatter;
}

}  // namespace

void InitLogging(const std::string& role, const std::string& level, LogFormat format) {
  const std::string time = kTime;
  auto logger = spdlog::stderr_logger_mt("lynx");
  logger->set_formatter(format == LogFormat::kJson
                            ? Formatter<MessageAsJson>("{\"time\": \"" + time +
                                                       "\", \"level\": \"%l\", \"role\": \"" +
                                                       role + "\"%*}")
                            : Formatter<MessageOnOneLine>(time + " level=%l role=" + role + " %*"));
  logger->set_level(spdlog::level::from_str(level));
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(logger);
}

}  // namespace lynx
