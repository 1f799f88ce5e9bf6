// tokenizer.json's "model" and "added_tokens".
#include <string>
#include <unordered_map>
#include <utility>

#include "model/quoted.h"
#include "model/tokenizer_json_fields.h"
#include "model/tokenizer_json_parts.h"

namespace lynx {
namespace {

using Json = nlohmann::json;
using IdByText = std::unordered_map<std::string_view, int32_t>;

void Reserve(int32_t id, BpeSpec* bpe) {
  const size_t size = static_cast<size_t>(id) + 1;
  if (bpe->token_bytes.size() < size) {
    bpe->token_bytes.resize(size);
    bpe->in_bpe.resize(size);
  }
}

absl::StatusOr<IdByText> ReadVocab(const Json& model, BpeSpec* bpe) {
  ASSIGN_OR_RETURN(const Json* vocab, NeedField(model, "vocab"));
  if (!vocab->is_object()) return absl::InvalidArgumentError("'vocab' is not an object");
  IdByText id_by_text;
  id_by_text.reserve(vocab->size());
  for (const auto& [text, value] : vocab->items()) {
    ASSIGN_OR_RETURN(const int32_t id, TokenIdOf(value));
    Reserve(id, bpe);
    if (bpe->in_bpe[id] != 0) {
      return absl::InvalidArgumentError(absl::StrCat("'vocab' gives the id ", id, " twice"));
    }
    bpe->in_bpe[id] = 1;
    bpe->token_bytes[id] = ByteLevelDecode(text);
    id_by_text[text] = id;
  }
  return id_by_text;
}

// "left right", or in newer files ["left", "right"].
absl::StatusOr<std::pair<std::string_view, std::string_view>> SplitMerge(const Json& merge) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return std::pair<std::string_view, std::string_view>(merge[0].get_ref<const std::string&>(),
                                                         merge[1].get_ref<const std::string&>());
  }
  if (merge.is_string()) {
    const std::string_view line = merge.get_ref<const std::string&>();
    const size_t space = line.find(' ');
    if (space != std::string_view::npos && line.find(' ', space + 1) == std::string_view::npos) {
      return std::pair(line.substr(0, space), line.substr(space + 1));
    }
  }
  return absl::InvalidArgumentError("an entry of 'merges' is not two tokens");
}

absl::Status ReadMerges(const Json& model, const IdByText& id_by_text, BpeSpec* bpe) {
  ASSIGN_OR_RETURN(const Json* merges, NeedField(model, "merges"));
  if (!merges->is_array()) return absl::InvalidArgumentError("'merges' is not a list");
  bpe->merges.reserve(merges->size());
  for (const Json& entry : *merges) {
    ASSIGN_OR_RETURN(const auto pair, SplitMerge(entry));
    const std::string result = std::string(pair.first).append(pair.second);
    BpeMerge merge;
    for (const auto& [text, id] : {std::pair<std::string_view, int32_t*>{pair.first, &merge.left},
                                   {pair.second, &merge.right},
                                   {result, &merge.result}}) {
      const auto it = id_by_text.find(text);
      if (it == id_by_text.end()) {
        return absl::InvalidArgumentError(
            absl::StrCat("'merges' needs the token ", Quoted(text), ", which 'vocab' lacks"));
      }
      *id = it->second;
    }
    bpe->merges.push_back(merge);
  }
  return absl::OkStatus();
}

bool HasAllBytes(const BpeSpec& bpe) {
  bool seen[256] = {};
  for (size_t id = 0; id < bpe.token_bytes.size(); ++id) {
    if (bpe.in_bpe[id] && bpe.token_bytes[id].size() == 1) {
      seen[static_cast<uint8_t>(bpe.token_bytes[id][0])] = true;
    }
  }
  for (const bool s : seen) {
    if (!s) return false;
  }
  return true;
}

absl::Status ReadOptions(const Json& model, const IdByText& id_by_text, BpeSpec* bpe) {
  for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    ASSIGN_OR_RETURN(const std::string text, StringField(model, name, ""));
    if (!text.empty()) return Unsupported(std::string("the BPE option ") + name, text);
  }
  const Json* dropout = FindField(model, "dropout");
  if (dropout != nullptr && *dropout != 0.0) {
    return Unsupported("the BPE option dropout", dropout->dump());
  }
  ASSIGN_OR_RETURN(const bool byte_fallback, BoolField(model, "byte_fallback", false));
  if (byte_fallback && !HasAllBytes(*bpe)) {
    return Unsupported("the BPE option byte_fallback", "true");
  }
  ASSIGN_OR_RETURN(bpe->ignore_merges, BoolField(model, "ignore_merges", false));
  ASSIGN_OR_RETURN(bpe->fuse_unk, BoolField(model, "fuse_unk", false));
  ASSIGN_OR_RETURN(const std::string unk, StringField(model, "unk_token", ""));
  if (unk.empty()) return absl::OkStatus();
  const auto it = id_by_text.find(unk);
  if (it == id_by_text.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("'unk_token' ", Quoted(unk), " is not in 'vocab'"));
  }
  bpe->unk_id = it->second;
  return absl::OkStatus();
}

absl::StatusOr<AddedToken> ReadAddedToken(const Json& entry) {
  AddedToken token;
  ASSIGN_OR_RETURN(const Json* id, NeedField(entry, "id"));
  ASSIGN_OR_RETURN(token.id, TokenIdOf(*id));
  ASSIGN_OR_RETURN(token.content, StringField(entry, "content", ""));
  ASSIGN_OR_RETURN(token.special, BoolField(entry, "special", false));
  ASSIGN_OR_RETURN(token.single_word, BoolField(entry, "single_word", false));
  ASSIGN_OR_RETURN(token.lstrip, BoolField(entry, "lstrip", false));
  ASSIGN_OR_RETURN(token.rstrip, BoolField(entry, "rstrip", false));
  ASSIGN_OR_RETURN(token.normalized, BoolField(entry, "normalized", !token.special));
  if (token.content.empty()) {
    return absl::InvalidArgumentError("an entry of 'added_tokens' has no 'content'");
  }
  return token;
}

}  // namespace

absl::Status ReadJsonModel(const Json& model, TokenizerSpec* spec) {
  ASSIGN_OR_RETURN(const std::string type, StringField(model, "type", "BPE"));
  if (type != "BPE") return Unsupported("the model", type);
  ASSIGN_OR_RETURN(const IdByText id_by_text, ReadVocab(model, &spec->bpe));
  RETURN_IF_ERROR(ReadMerges(model, id_by_text, &spec->bpe));
  return ReadOptions(model, id_by_text, &spec->bpe);
}

absl::Status ReadJsonAddedTokens(const Json& list, TokenizerSpec* spec) {
  if (!list.is_array()) return absl::InvalidArgumentError("'added_tokens' is not a list");
  for (const Json& entry : list) {
    ASSIGN_OR_RETURN(AddedToken token, ReadAddedToken(entry));
    Reserve(token.id, &spec->bpe);
    std::string& bytes = spec->bpe.token_bytes[token.id];
    const std::string own_bytes = ByteLevelDecode(token.content);
    if (!bytes.empty() && bytes != own_bytes) {
      return absl::InvalidArgumentError(absl::StrCat("the added token ", Quoted(token.content),
                                                     " has the id ", token.id,
                                                     ", which another token has"));
    }
    bytes = own_bytes;
    spec->added.push_back(std::move(token));
  }
  return absl::OkStatus();
}

}  // namespace lynx
