#include "model/pretokenizer_names.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "model/quoted.h"

namespace lynx {
namespace {

constexpr std::string_view kDigit = R"(\p{N})";

// The patterns stand as the models' own tokenizer.json have them.
constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kDefaultPunctuation = R"([\p{P}\$\+<=>\^~\|]+)";
constexpr std::string_view kDefaultNumber = R"(\p{N}+)";
constexpr std::string_view kDefaultThreeDigits = R"([0-9][0-9][0-9])";

enum class Kind {
  kGpt2,
  kDigitsGpt2,
  kLlama3,
  kLlama3Merges,
  kQwen2,
  kQwen2Raw,
  kTekken,
  kDefault
};

struct Entry {
  std::string_view name;
  Kind kind;
};

// Names for llama- and qwen2-type models whose meaning is certain.
constexpr Entry kEntries[] = {
    {"default", Kind::kDefault},
    {"gpt-2", Kind::kGpt2},
    {"pixtral", Kind::kLlama3Merges},
    {"phi-2", Kind::kGpt2},
    {"olmo", Kind::kGpt2},
    {"mpt", Kind::kGpt2},
    {"smollm", Kind::kDigitsGpt2},
    {"starcoder", Kind::kDigitsGpt2},
    {"refact", Kind::kDigitsGpt2},
    {"codeshell", Kind::kDigitsGpt2},
    {"command-r", Kind::kDigitsGpt2},
    {"minerva-7b", Kind::kDigitsGpt2},
    {"llama3", Kind::kLlama3Merges},
    {"llama-v3", Kind::kLlama3Merges},
    {"llama-bpe", Kind::kLlama3Merges},
    {"falcon3", Kind::kLlama3Merges},
    {"dbrx", Kind::kLlama3},
    {"smaug-bpe", Kind::kLlama3},
    {"qwen2", Kind::kQwen2},
    {"deepseek-r1-qwen", Kind::kQwen2},
    {"stablelm2", Kind::kQwen2Raw},
    {"tekken", Kind::kTekken},
};

std::vector<PreTokenizerStep> Steps(std::initializer_list<std::string_view> patterns) {
  std::vector<PreTokenizerStep> steps;
  for (const std::string_view pattern : patterns) {
    PreTokenizerStep step;
    step.pattern = std::string(pattern);
    steps.push_back(step);
  }
  return steps;
}

NamedPreTokenizer Make(Kind kind) {
  switch (kind) {
    case Kind::kGpt2:
      return {.steps = Steps({kGpt2Pattern})};
    case Kind::kDigitsGpt2:
      return {.steps = Steps({kDigit, kGpt2Pattern})};
    case Kind::kLlama3:
      return {.steps = Steps({kLlama3})};
    case Kind::kLlama3Merges:
      return {.steps = Steps({kLlama3}), .ignore_merges = true, .add_bos = true};
    case Kind::kQwen2:
      return {.steps = Steps({kQwen2}), .normalize_nfc = true};
    case Kind::kQwen2Raw:
      return {.steps = Steps({kQwen2})};
    case Kind::kTekken:
      return {.steps = Steps({kTekken}), .ignore_merges = true, .add_bos = true};
    case Kind::kDefault:
      return {.steps =
                  Steps({kDefaultPunctuation, kGpt2Pattern, kDefaultNumber, kDefaultThreeDigits})};
  }
  return {};
}

}  // namespace

absl::StatusOr<NamedPreTokenizer> FindNamedPreTokenizer(std::string_view name) {
  const auto it = std::find_if(std::begin(kEntries), std::end(kEntries),
                               [name](const Entry& e) { return e.name == name; });
  if (it != std::end(kEntries)) return Make(it->kind);
  std::string known;
  for (const Entry& e : kEntries) {
    if (!known.empty()) known += ", ";
    known += e.name;
  }
  return absl::UnimplementedError(
      absl::StrCat("tokenizer.ggml.pre ", Quoted(name), " is not supported; known are ", known));
}

}  // namespace lynx
