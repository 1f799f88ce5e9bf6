#include "gateway/openai_response.h"

#include "gateway/utf8.h"

namespace lynx {
namespace {

std::string Dump(const OrderedJson& json) {
  return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

OrderedJson UsageJson(const Usage& usage) {
  OrderedJson json;
  json["prompt_tokens"] = usage.prompt_tokens;
  json["completion_tokens"] = usage.completion_tokens;
  json["total_tokens"] = usage.prompt_tokens + usage.completion_tokens;
  json["prompt_tokens_details"]["cached_tokens"] = 0;
  return json;
}

// What is not known is not there: a zero would be a statement.
OrderedJson StatsJson(const StatsSummary& summary) {
  OrderedJson json = OrderedJson::object();
  if (summary.choices_without > 0) json["choices_without_stats"] = summary.choices_without;
  if (summary.choices_known == 0) return json;
  const v1::GenerateStats& stats = summary.sum;
  json["drafted"] = stats.drafted();
  json["accepted"] = stats.accepted();
  json["rolled_back"] = stats.rolled_back();
  json["anchor_bytes"] = stats.anchor_bytes();
  json["residual_bytes"] = stats.residual_bytes();
  json["second_token_provisional_ms"] = stats.second_token_provisional_ms();
  json["second_token_committed_ms"] = stats.second_token_committed_ms();
  json["diverged"] = stats.diverged();
  return json;
}

const char* ReasonName(Finish finish) { return finish == Finish::kStop ? "stop" : "length"; }

std::vector<int32_t> IdsOf(const std::vector<TokenPiece>& tokens) {
  std::vector<int32_t> ids;
  ids.reserve(tokens.size());
  for (const TokenPiece& token : tokens) ids.push_back(token.id);
  return ids;
}

}  // namespace

ResponseWriter::ResponseWriter(ResponseMeta meta, const TextModel* model,
                               const GenerationFields* fields)
    : meta_(std::move(meta)), model_(model), fields_(fields) {}

OrderedJson ResponseWriter::Head(bool chunk) const {
  OrderedJson json;
  json["id"] = meta_.id;
  json["object"] = !meta_.chat ? "text_completion"
                   : chunk     ? "chat.completion.chunk"
                               : "chat.completion";
  json["created"] = meta_.created;
  json["model"] = meta_.model;
  json["system_fingerprint"] =
      meta_.system_fingerprint.empty() ? OrderedJson() : OrderedJson(meta_.system_fingerprint);
  json["seed"] = meta_.seed;
  return json;
}

OrderedJson ResponseWriter::Choice(int64_t index) const {
  OrderedJson choice;
  choice["index"] = index;
  return choice;
}

OrderedJson ResponseWriter::Logprobs(const std::vector<TokenPiece>& tokens,
                                     int64_t base_chars) const {
  if (fields_->logprobs < 0 || tokens.empty()) return nullptr;
  const bool as_ids = fields_->return_tokens_as_token_ids;
  if (meta_.chat) return ChatLogprobs(*model_, tokens, as_ids);
  CompletionLogprobs out(model_, as_ids, fields_->logprobs);
  for (const TokenPiece& token : tokens) out.Add(token, base_chars);
  return out.Take();
}

OrderedJson ResponseWriter::EchoLogprobs(const EchoedPrompt& prompt,
                                         const std::vector<TokenPiece>& tokens) const {
  if (fields_->logprobs < 0) return nullptr;
  CompletionLogprobs out(model_, fields_->return_tokens_as_token_ids, fields_->logprobs);
  if (!prompt.ids.empty()) out.AddFirst(prompt.ids.front(), 0);
  for (const TokenPiece& token : prompt.logprobs) out.Add(token, 0);
  for (const TokenPiece& token : tokens) out.Add(token, prompt.text_chars);
  return out.Take();
}

void ResponseWriter::AddChoice(int64_t index, const ChoiceResult& result,
                               const EchoedPrompt& prompt, bool echo) {
  OrderedJson choice = Choice(index);
  if (meta_.chat) {
    choice["message"] = {{"role", "assistant"}, {"content", result.text}, {"refusal", nullptr}};
    choice["logprobs"] = Logprobs(result.tokens, 0);
  } else {
    choice["text"] = echo ? prompt.text + result.text : result.text;
    choice["logprobs"] = echo ? EchoLogprobs(prompt, result.tokens) : Logprobs(result.tokens, 0);
  }
  choice["finish_reason"] = ReasonName(result.finish);
  if (fields_->return_token_ids) {
    choice["token_ids"] = IdsOf(result.tokens);
    (meta_.chat ? chat_prompt_ids_ : choice["prompt_token_ids"]) = prompt.ids;
  }
  choices_.push_back(std::move(choice));
}

std::string ResponseWriter::Finish(const Usage& usage, const StatsSummary& stats) {
  OrderedJson json = Head(/*chunk=*/false);
  json["choices"] = std::move(choices_);
  json["usage"] = UsageJson(usage);
  if (!chat_prompt_ids_.is_null()) json["prompt_token_ids"] = std::move(chat_prompt_ids_);
  if (fields_->stats) json["lynx"] = StatsJson(stats);
  return Dump(json);
}

std::string ResponseWriter::Chunk(OrderedJson choice, const std::optional<Usage>& usage,
                                  OrderedJson extension,
                                  const std::vector<int32_t>* chat_prompt_ids) {
  OrderedJson json = Head(/*chunk=*/true);
  json["choices"].push_back(std::move(choice));
  if (usage.has_value()) {
    json["usage"] = UsageJson(*usage);
  } else if (fields_->include_usage) {
    json["usage"] = nullptr;
  }
  if (chat_prompt_ids != nullptr) json["prompt_token_ids"] = *chat_prompt_ids;
  if (!extension.is_null()) json["lynx"] = std::move(extension);
  return Dump(json);
}

std::string ResponseWriter::DeltaChunk(int64_t index, const ChoiceDelta& delta, bool first,
                                       const EchoedPrompt& prompt,
                                       const std::optional<Usage>& usage) {
  const bool speculative = fields_->emission == v1::EMISSION_SPECULATIVE;
  const bool tokens_matter = fields_->logprobs >= 0 || fields_->return_token_ids;
  // A client of provisional tokens must know each one's index to be able to take it back.
  if (delta.text.empty() && !speculative && !(tokens_matter && !delta.tokens.empty())) return "";
  OrderedJson choice = Choice(index);
  if (meta_.chat) {
    if (first) choice["delta"]["role"] = "assistant";
    choice["delta"]["content"] = delta.text;
  } else {
    choice["text"] = delta.text;
  }
  choice["logprobs"] = Logprobs(delta.tokens, prompt.text_chars);
  choice["finish_reason"] = nullptr;
  const bool ids_wanted = fields_->return_token_ids;
  if (ids_wanted) choice["token_ids"] = IdsOf(delta.tokens);
  if (ids_wanted && first && !meta_.chat) choice["prompt_token_ids"] = prompt.ids;
  OrderedJson extension;
  if (delta.rollback) {
    extension["rollback_to"] = delta.first_index;
  } else if (speculative) {
    extension["provisional"] = delta.provisional;
    extension["index"] = delta.first_index;
  }
  return Chunk(std::move(choice), usage, std::move(extension),
               ids_wanted && first && meta_.chat ? &prompt.ids : nullptr);
}

std::string ResponseWriter::EchoChunk(int64_t index, const EchoedPrompt& prompt) {
  OrderedJson choice = Choice(index);
  choice["text"] = prompt.text;
  choice["logprobs"] = EchoLogprobs(prompt, {});
  choice["finish_reason"] = nullptr;
  return Chunk(std::move(choice), std::nullopt, nullptr);
}

std::string ResponseWriter::FinishChunk(int64_t index, const ChoiceDelta& delta, bool first,
                                        const std::optional<Usage>& usage,
                                        const StatsSummary* stats) {
  OrderedJson choice = Choice(index);
  if (meta_.chat) {
    choice["delta"] = OrderedJson::object();
    if (first) choice["delta"] = {{"role", "assistant"}, {"content", ""}};
  } else {
    choice["text"] = "";
  }
  choice["logprobs"] = nullptr;
  choice["finish_reason"] = ReasonName(*delta.finish);
  OrderedJson extension = stats != nullptr ? StatsJson(*stats) : OrderedJson();
  if (fields_->emission == v1::EMISSION_SPECULATIVE) {
    extension["provisional"] = false;
    extension["index"] = delta.first_index;
  }
  return Chunk(std::move(choice), usage, std::move(extension));
}

std::string ResponseWriter::UsageChunk(const Usage& usage, const StatsSummary* stats) {
  OrderedJson json = Head(/*chunk=*/true);
  json["choices"] = OrderedJson::array();
  json["usage"] = UsageJson(usage);
  if (stats != nullptr) json["lynx"] = StatsJson(*stats);
  return Dump(json);
}

std::vector<TokenPiece> PromptPieces(const TextModel& model, const std::vector<int32_t>& ids,
                                     const std::vector<v1::TokenInfo>& infos) {
  std::vector<TokenPiece> pieces;
  std::string pending, text;
  int64_t chars = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i > 0 && i <= infos.size()) {
      const v1::TokenInfo& info = infos[i - 1];
      pieces.push_back({ids[i], info.logprob(), {info.top().begin(), info.top().end()}, chars});
    }
    model.AppendTokenBytes(ids[i], /*skip_special=*/true, &pending);
    text.clear();
    pending.erase(0, pending.size() - AppendUtf8(pending, &text));
    chars += static_cast<int64_t>(CountCodePoints(text));
  }
  return pieces;
}

}  // namespace lynx
