// fuzz-links: lynx_template
// The template is what stands before the first byte 1, the messages are JSON behind it.
#include <cstdint>
#include <string_view>

#include "model/template/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t cut = input.find('\x01');
  lynx::jinja::Limits limits;
  limits.steps_max = 20'000;
  limits.bytes_max = 4 << 20;
  auto t = lynx::ChatTemplate::Parse(input.substr(0, cut), limits);
  if (!t.ok()) return 0;
  lynx::ChatInput chat;
  chat.messages = {{{"role", "user"}, {"content", "hi"}}};
  if (cut != std::string_view::npos) {
    auto json = nlohmann::ordered_json::parse(input.substr(cut + 1), nullptr, false);
    if (!json.is_discarded()) chat.messages = std::move(json);
  }
  chat.tools = chat.messages;
  chat.special_tokens = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};
  auto spans = t->Render(chat);
  if (!spans.ok()) return 0;
  // Spans are never empty and alternate.
  for (size_t i = 0; i < spans->size(); ++i) {
    if ((*spans)[i].text.empty()) __builtin_trap();
    if (i > 0 && (*spans)[i].from_user == (*spans)[i - 1].from_user) __builtin_trap();
  }
  return 0;
}
