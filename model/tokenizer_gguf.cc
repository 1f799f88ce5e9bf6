// The tokenizer that a GGUF file's metadata describes.
//
//   tokenizer.ggml.model          "gpt2": byte-level BPE
//   tokenizer.ggml.pre            names the patterns (pretokenizer_names.h); absent: "default"
//   tokenizer.ggml.tokens         strings by id, byte-level characters, but control and
//   user-defined
//                                 tokens as plain text
//   tokenizer.ggml.token_type     by id: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused,
//   6
//                                 byte
//   tokenizer.ggml.merges         "left right", the lowest rank first
//   tokenizer.ggml.{bos,eos}_token_id, add_{bos,eos}_token
#include <optional>
#include <unordered_map>
#include <utility>

#include "model/gguf.h"
#include "model/pretokenizer_names.h"
#include "model/quoted.h"
#include "model/tokenizer.h"

namespace lynx {
namespace {

enum class TokenType : int64_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

using IdByText = std::unordered_map<std::string_view, int32_t>;

absl::StatusOr<std::span<const std::string_view>> Strings(const GgufFile& file,
                                                          std::string_view key) {
  ASSIGN_OR_RETURN(const GgufArray* array, file.Array(key));
  if (array->element_type() != GgufValueType::kString) {
    return absl::InvalidArgumentError(
        absl::StrCat(std::string(key), " is not an array of strings"));
  }
  return array->strings();
}

// The optional id at `key`, -1 if absent.
absl::StatusOr<int32_t> TokenId(const GgufFile& file, std::string_view key, size_t vocab_size) {
  if (!file.Has(key)) return -1;
  ASSIGN_OR_RETURN(const int64_t id, file.Int(key));
  if (id < 0 || static_cast<uint64_t>(id) >= vocab_size) {
    return absl::InvalidArgumentError(
        absl::StrCat(std::string(key), " ", id, " is not in the vocabulary of ", vocab_size));
  }
  return static_cast<int32_t>(id);
}

absl::StatusOr<bool> Flag(const GgufFile& file, std::string_view key, bool absent) {
  if (!file.Has(key)) return absent;
  return file.Bool(key);
}

// Files without types name no control tokens but these two.
TokenType TypeWithoutTypes(const TokenizerSpec& spec, int32_t id) {
  return id == spec.bos_id || id == spec.eos_id ? TokenType::kControl : TokenType::kNormal;
}

absl::Status AddToken(int32_t id, std::string_view text, TokenType type, TokenizerSpec* spec) {
  switch (type) {
    case TokenType::kUnknown:
    case TokenType::kControl:
    case TokenType::kUserDefined:
      spec->added.push_back(
          {.content = std::string(text), .id = id, .special = type != TokenType::kUserDefined});
      break;
    case TokenType::kNormal:
    case TokenType::kByte:
      spec->bpe.in_bpe[id] = 1;
      break;
    case TokenType::kUnused:
      break;
    default:
      return absl::InvalidArgumentError(absl::StrCat("tokenizer.ggml.token_type of token ", id,
                                                     " is ", static_cast<int64_t>(type)));
  }
  spec->bpe.token_bytes[id] = ByteLevelDecode(text);
  return absl::OkStatus();
}

absl::Status ReadTokens(const GgufFile& file, std::span<const std::string_view> texts,
                        TokenizerSpec* spec) {
  const GgufArray* types = nullptr;
  if (file.Has("tokenizer.ggml.token_type")) {
    ASSIGN_OR_RETURN(types, file.Array("tokenizer.ggml.token_type"));
    if (types->size() != texts.size()) {
      return absl::InvalidArgumentError(absl::StrCat("tokenizer.ggml.token_type has ",
                                                     types->size(), " entries for ", texts.size(),
                                                     " tokens"));
    }
  }
  spec->bpe.token_bytes.resize(texts.size());
  spec->bpe.in_bpe.resize(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    const int32_t id = static_cast<int32_t>(i);
    TokenType type = TypeWithoutTypes(*spec, id);
    if (types != nullptr) {
      ASSIGN_OR_RETURN(const int64_t number, types->Int(i));
      type = static_cast<TokenType>(number);
    }
    RETURN_IF_ERROR(AddToken(id, texts[i], type, spec));
  }
  return absl::OkStatus();
}

absl::StatusOr<BpeMerge> ParseMerge(std::string_view line, const IdByText& id_by_text) {
  const size_t space = line.find(' ', 1);
  if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("merge ", Quoted(line), " in tokenizer.ggml.merges is not two tokens"));
  }
  const std::string_view left = line.substr(0, space);
  const std::string_view right = line.substr(space + 1);
  const std::string result = std::string(left).append(right);
  BpeMerge merge;
  for (const auto& [text, id] : {std::pair<std::string_view, int32_t*>{left, &merge.left},
                                 {right, &merge.right},
                                 {result, &merge.result}}) {
    const auto it = id_by_text.find(text);
    if (it == id_by_text.end()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "merge ", Quoted(line), " in tokenizer.ggml.merges: there is no token ", Quoted(text)));
    }
    *id = it->second;
  }
  return merge;
}

absl::Status ReadMerges(const GgufFile& file, std::span<const std::string_view> texts,
                        TokenizerSpec* spec) {
  IdByText id_by_text;
  id_by_text.reserve(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) id_by_text[texts[i]] = static_cast<int32_t>(i);
  ASSIGN_OR_RETURN(const auto lines, Strings(file, "tokenizer.ggml.merges"));
  spec->bpe.merges.reserve(lines.size());
  for (const std::string_view line : lines) {
    ASSIGN_OR_RETURN(const BpeMerge merge, ParseMerge(line, id_by_text));
    spec->bpe.merges.push_back(merge);
  }
  return absl::OkStatus();
}

absl::Status ReadSpecial(const GgufFile& file, bool add_bos_if_absent, TokenizerSpec* spec) {
  ASSIGN_OR_RETURN(const bool add_bos,
                   Flag(file, "tokenizer.ggml.add_bos_token", add_bos_if_absent));
  ASSIGN_OR_RETURN(const bool add_eos, Flag(file, "tokenizer.ggml.add_eos_token", false));
  if ((add_bos && spec->bos_id < 0) || (add_eos && spec->eos_id < 0)) {
    return absl::InvalidArgumentError(
        "the file wants a BOS or EOS token around each text, but tokenizer.ggml.bos_token_id or "
        "eos_token_id is absent");
  }
  if (add_bos) spec->prefix_ids = {spec->bos_id};
  if (add_eos) spec->suffix_ids = {spec->eos_id};
  return absl::OkStatus();
}

absl::StatusOr<TokenizerSpec> ReadSpec(const GgufFile& file) {
  ASSIGN_OR_RETURN(const std::string_view model, file.String("tokenizer.ggml.model"));
  if (model != "gpt2") {
    return absl::UnimplementedError(absl::StrCat(
        "tokenizer.ggml.model ", Quoted(model), " is not supported, only 'gpt2' (byte-level BPE)"));
  }
  std::string_view pre = "default";
  if (file.Has("tokenizer.ggml.pre")) {
    ASSIGN_OR_RETURN(pre, file.String("tokenizer.ggml.pre"));
  }
  ASSIGN_OR_RETURN(NamedPreTokenizer named, FindNamedPreTokenizer(pre));
  TokenizerSpec spec;
  spec.steps = std::move(named.steps);
  spec.normalize_nfc = named.normalize_nfc;
  spec.bpe.ignore_merges = named.ignore_merges;
  ASSIGN_OR_RETURN(const auto texts, Strings(file, "tokenizer.ggml.tokens"));
  if (texts.size() > static_cast<size_t>(kMaxTokenId) + 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer.ggml.tokens has ", texts.size(), " entries"));
  }
  ASSIGN_OR_RETURN(spec.bos_id, TokenId(file, "tokenizer.ggml.bos_token_id", texts.size()));
  ASSIGN_OR_RETURN(spec.eos_id, TokenId(file, "tokenizer.ggml.eos_token_id", texts.size()));
  RETURN_IF_ERROR(ReadTokens(file, texts, &spec));
  RETURN_IF_ERROR(ReadMerges(file, texts, &spec));
  RETURN_IF_ERROR(ReadSpecial(file, named.add_bos, &spec));
  return spec;
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Tokenizer>> Tokenizer::FromGguf(const GgufFile& file) {
  ASSIGN_OR_RETURN(const TokenizerSpec spec, ReadSpec(file));
  return Create(spec);
}

}  // namespace lynx
