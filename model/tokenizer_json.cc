// The tokenizer in a Hugging Face tokenizer.json. "truncation" and "padding" are how batches were
// made in training, not part of what a text's ids are: they are not read.
#include <nlohmann/json.hpp>
#include <utility>

#include "model/quoted.h"
#include "model/tokenizer.h"
#include "model/tokenizer_json_fields.h"
#include "model/tokenizer_json_parts.h"
#include "runtime/mapped_file.h"

namespace lynx {
namespace {

using Json = nlohmann::json;

absl::StatusOr<Json> ParseObject(std::string_view text) {
  try {
    Json json = Json::parse(text);
    if (!json.is_object()) return absl::InvalidArgumentError("not a JSON object");
    return json;
  } catch (const Json::exception& e) {  // the only way to learn the position
    return absl::InvalidArgumentError(absl::StrCat("not JSON: ", Quoted(e.what(), 200)));
  }
}

// The token that tokenizer_config.json names: a string, or an object with "content". -1 if it names
// none, or one that the vocabulary lacks (some files name tokens that were never trained).
absl::StatusOr<int32_t> NamedToken(const Json& config, std::string_view name,
                                   const TokenizerSpec& spec) {
  const Json* field = FindField(config, name);
  if (field == nullptr) return -1;
  if (field->is_object()) field = FindField(*field, "content");
  if (field == nullptr || !field->is_string()) {
    return absl::InvalidArgumentError(absl::StrCat("field ", Quoted(name), " is not a token"));
  }
  const std::string& text = field->get_ref<const std::string&>();
  for (const AddedToken& token : spec.added) {
    if (token.content == text) return token.id;
  }
  return -1;
}

absl::StatusOr<TokenizerSpec> ReadSpec(const Json& json) {
  TokenizerSpec spec;
  ASSIGN_OR_RETURN(const Json* model, NeedField(json, "model"));
  RETURN_IF_ERROR(ReadJsonModel(*model, &spec));
  if (const Json* part = FindField(json, "added_tokens"); part != nullptr) {
    RETURN_IF_ERROR(ReadJsonAddedTokens(*part, &spec));
  }
  if (const Json* part = FindField(json, "normalizer"); part != nullptr) {
    RETURN_IF_ERROR(ReadJsonNormalizer(*part, &spec));
  }
  ASSIGN_OR_RETURN(const Json* pre_tokenizer, NeedField(json, "pre_tokenizer"));
  RETURN_IF_ERROR(ReadJsonPreTokenizer(*pre_tokenizer, &spec));
  if (const Json* part = FindField(json, "post_processor"); part != nullptr) {
    RETURN_IF_ERROR(ReadJsonPostProcessor(*part, &spec));
  }
  ASSIGN_OR_RETURN(const Json* decoder, NeedField(json, "decoder"));
  RETURN_IF_ERROR(CheckJsonDecoder(*decoder));
  return spec;
}

absl::StatusOr<TokenizerSpec> ParseSpec(std::string_view text) {
  ASSIGN_OR_RETURN(const Json json, ParseObject(text));
  return ReadSpec(json);
}

absl::Status ReadConfig(std::string_view text, TokenizerSpec* spec) {
  ASSIGN_OR_RETURN(const Json config, ParseObject(text));
  ASSIGN_OR_RETURN(spec->bos_id, NamedToken(config, "bos_token", *spec));
  ASSIGN_OR_RETURN(spec->eos_id, NamedToken(config, "eos_token", *spec));
  return absl::OkStatus();
}

std::string_view AsText(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Tokenizer>> Tokenizer::FromJson(
    std::string_view tokenizer_json, std::string_view config_json) {
  absl::StatusOr<TokenizerSpec> spec = ParseSpec(tokenizer_json);
  if (!spec.ok()) return Annotate(spec.status(), "tokenizer.json");
  if (!config_json.empty()) {
    RETURN_IF_ERROR(Annotate(ReadConfig(config_json, &*spec), "tokenizer_config.json"));
  }
  return Create(*spec);
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> Tokenizer::FromFolder(const std::string& folder) {
  ASSIGN_OR_RETURN(const MappedFile tokenizer, MappedFile::Open(folder + "/tokenizer.json"));
  MappedFile config;
  absl::StatusOr<MappedFile> opened = MappedFile::Open(folder + "/tokenizer_config.json");
  if (opened.ok()) {
    config = *std::move(opened);
  } else if (!absl::IsNotFound(opened.status())) {
    return opened.status();
  }
  auto result = FromJson(AsText(tokenizer), AsText(config));
  if (!result.ok()) return Annotate(result.status(), folder);
  return result;
}

}  // namespace lynx
