// Text in, tokens out, and back: all that the gateway knows of a model. The tokenizer and the chat
// template stand behind this, so that tests can put a small fake in their place.
//
// Threads: every method may be called from several threads at once.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace lynx {

struct ChatPrompt {
  // In the client's order of keys, which a template's tojson shows.
  nlohmann::ordered_json messages;         // checked as openai_messages.h says
  nlohmann::ordered_json template_kwargs;  // an object: further variables of the template
  bool add_generation_prompt = true;
};

class TextModel {
 public:
  virtual ~TextModel() = default;

  virtual int64_t vocab_size() const = 0;

  // Whether `id` ends the text unless a request says ignore_eos.
  virtual bool IsEndOfText(int32_t id) const = 0;

  // `add_special_tokens`: what the tokenizer puts around a text by itself (BOS), nothing else.
  virtual absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text,
                                                      bool add_special_tokens) const = 0;

  // INVALID_ARGUMENT: the template raised an error on these messages. What looks like a special
  // token in a message stays text.
  virtual absl::StatusOr<std::vector<int32_t>> EncodeChat(const ChatPrompt& prompt) const = 0;

  // Appends the token's bytes: a text is the concatenation of its tokens' bytes, and a character
  // may be spread over several tokens. Nothing for a special token if `skip_special`, or an id out
  // of range.
  virtual void AppendTokenBytes(int32_t id, bool skip_special, std::string* out) const = 0;
};

}  // namespace lynx
