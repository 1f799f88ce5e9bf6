#include "bench/bench_prompts.h"

#include <nlohmann/json.hpp>
#include <utility>

namespace lynx::bench {

absl::StatusOr<std::vector<BenchPrompt>> ParsePrompts(std::string_view json,
                                                      const TextModel& model) {
  const auto file = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!file.is_object() || !file.contains("prompts") || !file["prompts"].is_array()) {
    return absl::InvalidArgumentError("a prompts file is {\"prompts\": [...]}");
  }
  std::vector<BenchPrompt> prompts;
  for (const auto& p : file["prompts"]) {
    const auto text = [&p](const char* key) { return p.contains(key) && p[key].is_string(); };
    if (!p.is_object() || !text("name") || !text("content")) {
      return absl::InvalidArgumentError("a prompt is {\"name\": \"...\", \"content\": \"...\"}");
    }
    ChatPrompt chat;
    chat.messages = {{{"role", "user"}, {"content", p["content"].get<std::string>()}}};
    chat.template_kwargs = nlohmann::ordered_json::object();
    BenchPrompt prompt{.name = p["name"].get<std::string>(), .tokens = {}};
    ASSIGN_OR_RETURN(prompt.tokens, model.EncodeChat(chat));
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

}  // namespace lynx::bench
