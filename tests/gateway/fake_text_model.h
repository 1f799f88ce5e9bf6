// A model whose tokens are bytes: id b is the byte b, 256 is "<bos>", 257 "<eos>" (special, ends
// the text), 258 "<user>" (special).
#pragma once

#include "gateway/text_model.h"

namespace lynx {

class FakeTextModel : public TextModel {
 public:
  static constexpr int32_t kBos = 256, kEos = 257, kUser = 258;

  int64_t vocab_size() const override { return 300; }
  bool IsEndOfText(int32_t id) const override { return id == kEos; }

  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text,
                                              bool add_special_tokens) const override {
    std::vector<int32_t> ids;
    if (add_special_tokens) ids.push_back(kBos);
    for (char c : text) ids.push_back(static_cast<uint8_t>(c));
    return ids;
  }

  // <user>content for each message; the role "bad" is a template error.
  absl::StatusOr<std::vector<int32_t>> EncodeChat(const ChatPrompt& prompt) const override {
    std::vector<int32_t> ids = {kBos};
    for (const auto& message : prompt.messages) {
      if (message["role"] == "bad") return absl::InvalidArgumentError("roles must alternate");
      ids.push_back(kUser);
      for (char c : message.value("content", std::string())) ids.push_back(static_cast<uint8_t>(c));
    }
    return ids;
  }

  void AppendTokenBytes(int32_t id, bool skip_special, std::string* out) const override {
    if (id >= 0 && id < 256) out->push_back(static_cast<char>(id));
    if (skip_special) return;
    if (id == kBos) out->append("<bos>");
    if (id == kEos) out->append("<eos>");
    if (id == kUser) out->append("<user>");
  }
};

}  // namespace lynx
