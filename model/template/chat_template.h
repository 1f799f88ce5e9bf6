// A model's chat template: messages in, prompt text out, with the origin of every byte.
//
// Use by the tokenizer: special tokens may be recognized only where all their bytes lie in spans
// with from_user false; a special token spelled in a message is ordinary text. Ordinary text is to
// be tokenized across span borders, as the borders are no part of the prompt.
//
// Threads: immutable after Parse; Render may run on any number of threads at once.
#pragma once

#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "model/template/content.h"
#include "model/template/template.h"

namespace lynx {

struct PromptSpan {
  std::string text;
  bool from_user;  // from messages, tools or extra; else written by the template
};

struct ChatInput {
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  nlohmann::ordered_json tools;  // null: none
  // chat_template_kwargs of the request: null or an object. May not replace the fields here.
  nlohmann::ordered_json extra;
  bool add_generation_prompt = true;
  // bos_token, eos_token and others by the name that templates use; they count as template text.
  std::vector<std::pair<std::string, std::string>> special_tokens;
  std::tm now = {};  // local time, for strftime_now
};

class ChatTemplate {
 public:
  // InvalidArgument "chat template, line N: ...": what docs/chat-templates.md does not list.
  static absl::StatusOr<ChatTemplate> Parse(std::string_view source,
                                            const jinja::Limits& limits = {});

  // Neighbouring spans differ in from_user; none is empty. InvalidArgument: the template's own
  // raise_exception, messages that it cannot render, spent limits.
  absl::StatusOr<std::vector<PromptSpan>> Render(const ChatInput& input) const;
  // The spans' text in one string.
  absl::StatusOr<std::string> RenderText(const ChatInput& input) const;

  const jinja::ContentTraits& content_traits() const { return traits_; }

 private:
  explicit ChatTemplate(jinja::Template t);
  absl::StatusOr<jinja::Text> RenderInner(const ChatInput& input) const;

  std::shared_ptr<const jinja::Template> template_;
  jinja::ContentTraits traits_;
};

}  // namespace lynx
