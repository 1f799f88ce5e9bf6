#include "gateway/model_text.h"

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "model/loader.h"
#include "model/template/chat_template.h"
#include "model/tokenizer.h"
#include "runtime/status.h"

namespace lynx {
namespace {

class ModelText final : public TextModel {
 public:
  ModelText(ModelConfig config, std::unique_ptr<const Tokenizer> tokenizer,
            std::optional<ChatTemplate> chat_template)
      : config_(std::move(config)),
        tokenizer_(std::move(tokenizer)),
        template_(std::move(chat_template)) {}

  int64_t vocab_size() const override { return config_.vocab; }

  bool IsEndOfText(int32_t id) const override {
    return std::find(config_.eos_ids.begin(), config_.eos_ids.end(), id) != config_.eos_ids.end();
  }

  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text,
                                              bool add_special_tokens) const override {
    return tokenizer_->Encode(text, {.add_special_tokens = add_special_tokens});
  }

  absl::StatusOr<std::vector<int32_t>> EncodeChat(const ChatPrompt& prompt) const override {
    if (!template_) return absl::InvalidArgumentError("This model has no chat template.");
    ChatInput input;
    input.messages = prompt.messages;
    input.extra = prompt.template_kwargs;
    input.add_generation_prompt = prompt.add_generation_prompt;
    AddSpecial("bos_token", tokenizer_->bos_id(), &input);
    AddSpecial("eos_token", tokenizer_->eos_id(), &input);
    const std::time_t now = std::time(nullptr);
    localtime_r(&now, &input.now);
    ASSIGN_OR_RETURN(const std::vector<PromptSpan> spans, template_->Render(input));
    std::vector<TextSpan> parts;
    parts.reserve(spans.size());
    for (const PromptSpan& span : spans) parts.push_back({span.text, !span.from_user});
    // The template wrote BOS itself if it is to be there.
    return tokenizer_->EncodeSpans(parts, /*add_special_tokens=*/false);
  }

  void AppendTokenBytes(int32_t id, bool skip_special, std::string* out) const override {
    if (skip_special && tokenizer_->IsSpecial(id)) return;
    out->append(tokenizer_->TokenBytes(id));
  }

 private:
  void AddSpecial(const char* name, int32_t id, ChatInput* input) const {
    if (id >= 0) input->special_tokens.emplace_back(name, tokenizer_->TokenBytes(id));
  }

  const ModelConfig config_;
  const std::unique_ptr<const Tokenizer> tokenizer_;
  const std::optional<ChatTemplate> template_;
};

std::optional<std::string> ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// `chat_template` of tokenizer_config.json: a string, or a list of named ones of which "default"
// counts.
std::optional<std::string> TemplateFromConfig(const std::string& config_text) {
  const nlohmann::json config = nlohmann::json::parse(config_text, nullptr, false);
  if (!config.is_object() || !config.contains("chat_template")) return std::nullopt;
  const nlohmann::json& value = config["chat_template"];
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return std::nullopt;
  for (const nlohmann::json& item : value) {
    if (item.is_object() && item.value("name", nlohmann::json()) == "default" &&
        item.contains("template") && item["template"].is_string()) {
      return item["template"].get<std::string>();
    }
  }
  return std::nullopt;
}

std::optional<std::string> TemplateSource(const ModelFiles& files) {
  if (files.gguf != nullptr) {
    absl::StatusOr<std::string_view> source = files.gguf->String("tokenizer.chat_template");
    return source.ok() ? std::optional<std::string>(*source) : std::nullopt;
  }
  const std::filesystem::path folder(files.folder);
  if (auto source = ReadFile(folder / "chat_template.jinja")) return source;
  const auto config = ReadFile(folder / "tokenizer_config.json");
  return config ? TemplateFromConfig(*config) : std::nullopt;
}

}  // namespace

absl::StatusOr<std::unique_ptr<const TextModel>> LoadTextModel(const std::string& path) {
  ASSIGN_OR_RETURN(ModelMetadata metadata, LoadModelMetadata(path));
  ASSIGN_OR_RETURN(std::unique_ptr<const Tokenizer> tokenizer,
                   metadata.files.gguf != nullptr ? Tokenizer::FromGguf(*metadata.files.gguf)
                                                  : Tokenizer::FromFolder(metadata.files.folder));
  std::optional<ChatTemplate> chat_template;
  if (const std::optional<std::string> source = TemplateSource(metadata.files)) {
    absl::StatusOr<ChatTemplate> parsed = ChatTemplate::Parse(*source);
    if (!parsed.ok()) return Annotate(parsed.status(), path);
    chat_template = *std::move(parsed);
  }
  return std::make_unique<ModelText>(std::move(metadata.config), std::move(tokenizer),
                                     std::move(chat_template));
}

}  // namespace lynx
