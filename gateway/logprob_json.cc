#include "gateway/logprob_json.h"

#include "absl/strings/str_cat.h"
#include "gateway/utf8.h"

namespace lynx {
namespace {

OrderedJson BytesOf(const TextModel& model, int32_t id) {
  std::string bytes;
  model.AppendTokenBytes(id, /*skip_special=*/false, &bytes);
  OrderedJson list = OrderedJson::array();
  for (char c : bytes) list.push_back(static_cast<uint8_t>(c));
  return list;
}

OrderedJson ChatEntry(const TextModel& model, int32_t id, double logprob, bool as_ids) {
  OrderedJson entry;
  entry["token"] = TokenString(model, id, as_ids);
  entry["logprob"] = ClampLogprob(logprob);
  entry["bytes"] = BytesOf(model, id);
  return entry;
}

}  // namespace

std::string TokenString(const TextModel& model, int32_t id, bool as_id) {
  if (as_id) return absl::StrCat("token_id:", id);
  std::string bytes;
  model.AppendTokenBytes(id, /*skip_special=*/false, &bytes);
  return LossyUtf8(bytes);
}

double ClampLogprob(double logprob) { return logprob >= -9999.0 ? logprob : -9999.0; }

OrderedJson ChatLogprobs(const TextModel& model, const std::vector<TokenPiece>& tokens,
                         bool as_ids) {
  OrderedJson content = OrderedJson::array();
  for (const TokenPiece& token : tokens) {
    OrderedJson entry = ChatEntry(model, token.id, token.logprob, as_ids);
    OrderedJson top = OrderedJson::array();
    for (const v1::TopLogprob& t : token.top) {
      top.push_back(ChatEntry(model, t.id(), t.logprob(), as_ids));
    }
    entry["top_logprobs"] = std::move(top);
    content.push_back(std::move(entry));
  }
  OrderedJson out;
  out["content"] = std::move(content);
  return out;
}

CompletionLogprobs::CompletionLogprobs(const TextModel* model, bool as_ids, int top_count)
    : model_(model), as_ids_(as_ids), top_count_(top_count) {
  for (const char* key : {"text_offset", "token_logprobs", "tokens", "top_logprobs"}) {
    json_[key] = OrderedJson::array();
  }
  if (top_count_ == 0) json_["top_logprobs"] = nullptr;
}

void CompletionLogprobs::AddFirst(int32_t id, int64_t text_offset_chars) {
  json_["text_offset"].push_back(text_offset_chars);
  json_["token_logprobs"].push_back(nullptr);
  json_["tokens"].push_back(TokenString(*model_, id, as_ids_));
  if (top_count_ > 0) json_["top_logprobs"].push_back(nullptr);
}

void CompletionLogprobs::Add(const TokenPiece& token, int64_t base_chars) {
  json_["text_offset"].push_back(base_chars + token.text_offset_chars);
  json_["token_logprobs"].push_back(ClampLogprob(token.logprob));
  json_["tokens"].push_back(TokenString(*model_, token.id, as_ids_));
  if (top_count_ > 0) json_["top_logprobs"].push_back(TopDict(token));
}

// Clients compare the token's number with this dictionary's maximum: the token itself is always in
// it, with the identical number. Two tokens may have one string (parts of characters): the second
// is then named by its id, so that none hides another.
OrderedJson CompletionLogprobs::TopDict(const TokenPiece& token) const {
  OrderedJson dict = OrderedJson::object();
  const auto put = [&](int32_t id, double logprob) {
    std::string key = TokenString(*model_, id, as_ids_);
    if (dict.contains(key)) key = absl::StrCat("token_id:", id);
    dict[key] = ClampLogprob(logprob);
  };
  bool present = false;
  for (const v1::TopLogprob& t : token.top) {
    present |= t.id() == token.id;
    put(t.id(), t.id() == token.id ? token.logprob : t.logprob());
  }
  if (!present) put(token.id, token.logprob);
  return dict;
}

}  // namespace lynx
