#include "model/template/chat_template.h"

#include "model/template/error.h"
#include "model/template/json_values.h"
#include "runtime/status.h"

namespace lynx {
namespace {

constexpr std::string_view kErrorPrefix = "chat template, ";

absl::Status AddExtra(const nlohmann::ordered_json& extra, jinja::Variables* variables) {
  if (extra.is_null()) return absl::OkStatus();
  if (!extra.is_object()) return jinja::Error("chat_template_kwargs must be an object");
  for (const auto& [name, json] : extra.items()) {
    ASSIGN_OR_RETURN(jinja::Value v, jinja::FromJson(json, /*from_user=*/true));
    (*variables)[name] = std::move(v);
  }
  return absl::OkStatus();
}

}  // namespace

ChatTemplate::ChatTemplate(jinja::Template t)
    : template_(std::make_shared<const jinja::Template>(std::move(t))),
      traits_(jinja::InspectContent(template_->block())) {}

absl::StatusOr<ChatTemplate> ChatTemplate::Parse(std::string_view source,
                                                 const jinja::Limits& limits) {
  absl::StatusOr<jinja::Template> t = jinja::Template::Parse(source, limits);
  if (!t.ok()) return jinja::Error(kErrorPrefix, std::string(t.status().message()));
  return ChatTemplate(*std::move(t));
}

absl::StatusOr<jinja::Text> ChatTemplate::RenderInner(const ChatInput& input) const {
  jinja::Variables variables;
  variables["documents"] = jinja::Value();
  // The named inputs come last, so that a client cannot replace the special tokens.
  RETURN_IF_ERROR(AddExtra(input.extra, &variables));
  for (const auto& [name, token] : input.special_tokens) {
    variables[name] = jinja::Value::Str(token);
  }
  ASSIGN_OR_RETURN(const nlohmann::ordered_json messages,
                   jinja::NormalizeMessages(input.messages, traits_));
  ASSIGN_OR_RETURN(variables["messages"], jinja::FromJson(messages, /*from_user=*/true));
  ASSIGN_OR_RETURN(variables["tools"], jinja::FromJson(input.tools, /*from_user=*/true));
  variables["add_generation_prompt"] = jinja::Value(input.add_generation_prompt);
  absl::StatusOr<jinja::Text> text = template_->Render(variables, input.now);
  if (!text.ok()) return jinja::Error(kErrorPrefix, std::string(text.status().message()));
  return text;
}

absl::StatusOr<std::vector<PromptSpan>> ChatTemplate::Render(const ChatInput& input) const {
  ASSIGN_OR_RETURN(const jinja::Text text, RenderInner(input));
  std::vector<PromptSpan> spans;
  size_t begin = 0;
  for (const jinja::Text::Run& run : text.runs()) {
    spans.push_back({text.str().substr(begin, run.end - begin), run.from_user});
    begin = run.end;
  }
  return spans;
}

absl::StatusOr<std::string> ChatTemplate::RenderText(const ChatInput& input) const {
  ASSIGN_OR_RETURN(const jinja::Text text, RenderInner(input));
  return text.str();
}

}  // namespace lynx
