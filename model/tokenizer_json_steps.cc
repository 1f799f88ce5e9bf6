// tokenizer.json's normalizer, pre-tokenizer, post-processor and decoder.
#include <string>
#include <utility>

#include "model/quoted.h"
#include "model/tokenizer_json_fields.h"
#include "model/tokenizer_json_parts.h"

namespace lynx {
namespace {

using Json = nlohmann::json;

// Sequences in sequences: real files have one level; this bounds the recursion.
constexpr int kMaxNesting = 16;

absl::StatusOr<std::string> TypeOf(const Json& part) {
  ASSIGN_OR_RETURN(std::string type, StringField(part, "type", ""));
  if (type.empty()) return absl::InvalidArgumentError("a component has no 'type'");
  return type;
}

// Calls `read` with the part, or with each part of a (nested) Sequence, whose list is at
// `list_name`.
template <typename Read>
absl::Status ForEachPart(const Json& part, std::string_view list_name, int depth,
                         const Read& read) {
  ASSIGN_OR_RETURN(const std::string type, TypeOf(part));
  if (type != "Sequence") return read(type, part);
  ASSIGN_OR_RETURN(const Json* list, NeedField(part, list_name));
  if (!list->is_array() || depth >= kMaxNesting) {
    return absl::InvalidArgumentError(absl::StrCat("field ", Quoted(list_name), " is malformed"));
  }
  for (const Json& inner : *list) {
    RETURN_IF_ERROR(ForEachPart(inner, list_name, depth + 1, read));
  }
  return absl::OkStatus();
}

absl::StatusOr<SplitBehavior> BehaviorOf(const Json& part) {
  ASSIGN_OR_RETURN(const std::string name, StringField(part, "behavior", ""));
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  return Unsupported("the Split behavior", name);
}

absl::StatusOr<std::string> PatternOf(const Json& part) {
  ASSIGN_OR_RETURN(const Json* pattern, NeedField(part, "pattern"));
  ASSIGN_OR_RETURN(std::string regex, StringField(*pattern, "Regex", ""));
  if (!regex.empty()) return regex;
  ASSIGN_OR_RETURN(const std::string text, StringField(*pattern, "String", ""));
  if (text.empty()) return absl::InvalidArgumentError("a Split has no pattern");
  return QuotePattern(text);
}

absl::StatusOr<PreTokenizerStep> ReadSplit(const Json& part) {
  PreTokenizerStep step;
  ASSIGN_OR_RETURN(step.pattern, PatternOf(part));
  ASSIGN_OR_RETURN(step.behavior, BehaviorOf(part));
  ASSIGN_OR_RETURN(step.invert, BoolField(part, "invert", false));
  return step;
}

absl::StatusOr<PreTokenizerStep> ReadByteLevel(const Json& part) {
  PreTokenizerStep step;
  ASSIGN_OR_RETURN(step.add_prefix_space, BoolField(part, "add_prefix_space", true));
  ASSIGN_OR_RETURN(const bool use_regex, BoolField(part, "use_regex", true));
  if (use_regex) step.pattern = std::string(kGpt2Pattern);
  return step;
}

absl::StatusOr<PreTokenizerStep> ReadDigits(const Json& part) {
  PreTokenizerStep step;
  ASSIGN_OR_RETURN(const bool individual, BoolField(part, "individual_digits", false));
  step.pattern = R"(\p{N})";
  step.behavior = individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous;
  return step;
}

// Appends the ids that a template's SpecialToken stands for.
absl::Status AppendTemplateToken(const Json& post_processor, const Json& item,
                                 std::vector<int32_t>* ids) {
  ASSIGN_OR_RETURN(const std::string name, StringField(item, "id", ""));
  const Json* tokens = FindField(post_processor, "special_tokens");
  const Json* token = tokens == nullptr ? nullptr : FindField(*tokens, name);
  const Json* list = token == nullptr ? nullptr : FindField(*token, "ids");
  if (list == nullptr || !list->is_array()) {
    return absl::InvalidArgumentError(
        absl::StrCat("TemplateProcessing does not define the token ", Quoted(name)));
  }
  for (const Json& id : *list) {
    ids->emplace_back();
    ASSIGN_OR_RETURN(ids->back(), TokenIdOf(id));
  }
  return absl::OkStatus();
}

absl::Status ReadTemplate(const Json& part, TokenizerSpec* spec) {
  ASSIGN_OR_RETURN(const Json* items, NeedField(part, "single"));
  if (!items->is_array()) return absl::InvalidArgumentError("'single' is not a list");
  std::vector<int32_t> prefix, suffix;
  bool text_seen = false;
  for (const Json& item : *items) {
    if (const Json* token = FindField(item, "SpecialToken"); token != nullptr) {
      RETURN_IF_ERROR(AppendTemplateToken(part, *token, text_seen ? &suffix : &prefix));
    } else if (FindField(item, "Sequence") != nullptr && !text_seen) {
      text_seen = true;
    } else {
      return absl::InvalidArgumentError("TemplateProcessing's 'single' is malformed");
    }
  }
  if (!text_seen) return absl::InvalidArgumentError("TemplateProcessing leaves the text out");
  // In a sequence of templates a later one goes around the earlier.
  spec->prefix_ids.insert(spec->prefix_ids.begin(), prefix.begin(), prefix.end());
  spec->suffix_ids.insert(spec->suffix_ids.end(), suffix.begin(), suffix.end());
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadJsonNormalizer(const Json& part, TokenizerSpec* spec) {
  return ForEachPart(part, "normalizers", 0, [spec](const std::string& type, const Json&) {
    if (type != "NFC") return Unsupported("the normalizer", type);
    spec->normalize_nfc = true;
    return absl::OkStatus();
  });
}

absl::Status ReadJsonPreTokenizer(const Json& part, TokenizerSpec* spec) {
  bool byte_level = false;
  RETURN_IF_ERROR(ForEachPart(part, "pretokenizers", 0,
                              [&](const std::string& type, const Json& inner) -> absl::Status {
                                // What came behind it would see byte-level characters instead of
                                // text.
                                if (byte_level)
                                  return Unsupported("behind ByteLevel the pre-tokenizer", type);
                                spec->steps.emplace_back();
                                if (type == "Split") {
                                  ASSIGN_OR_RETURN(spec->steps.back(), ReadSplit(inner));
                                } else if (type == "Digits") {
                                  ASSIGN_OR_RETURN(spec->steps.back(), ReadDigits(inner));
                                } else if (type == "ByteLevel") {
                                  ASSIGN_OR_RETURN(spec->steps.back(), ReadByteLevel(inner));
                                  byte_level = true;
                                } else {
                                  return Unsupported("the pre-tokenizer", type);
                                }
                                return absl::OkStatus();
                              }));
  if (!byte_level) return Unsupported("a BPE without the pre-tokenizer", "ByteLevel");
  return absl::OkStatus();
}

absl::Status ReadJsonPostProcessor(const Json& part, TokenizerSpec* spec) {
  return ForEachPart(part, "processors", 0,
                     [spec](const std::string& type, const Json& inner) -> absl::Status {
                       if (type == "ByteLevel") return absl::OkStatus();  // trims offsets only
                       if (type == "TemplateProcessing") return ReadTemplate(inner, spec);
                       return Unsupported("the post-processor", type);
                     });
}

absl::Status CheckJsonDecoder(const Json& part) {
  return ForEachPart(part, "decoders", 0, [](const std::string& type, const Json&) {
    return type == "ByteLevel" ? absl::OkStatus() : Unsupported("the decoder", type);
  });
}

}  // namespace lynx
