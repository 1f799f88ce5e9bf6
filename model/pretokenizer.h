// Pre-tokenization: cuts text into the words that the BPE works on, by regular expressions in
// Oniguruma's Ruby syntax on UTF-8 (what `tokenizers` runs). Immutable; any thread may split.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "runtime/status.h"

struct re_pattern_buffer;

namespace lynx {

// What becomes of the matches of a pattern: the values of `tokenizers`' SplitDelimiterBehavior.
enum class SplitBehavior : uint8_t {
  kIsolated,            // each match is a word, and so is what stands between two
  kRemoved,             // matches vanish
  kMergedWithPrevious,  // a match belongs to the text before it
  kMergedWithNext,      // or behind it
  kContiguous,          // adjacent matches are one word
};

// A step works on each word of the step before.
struct PreTokenizerStep {
  bool add_prefix_space = false;  // first: puts a space before a word that has none
  std::string pattern;            // empty: no cutting
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;  // matches and what is between them change places
};

// The pattern of GPT-2, which ByteLevel with use_regex stands for.
extern const std::string_view kGpt2Pattern;

// A pattern that matches just `text`.
std::string QuotePattern(std::string_view text);

class PreTokenizer {
 public:
  // INVALID_ARGUMENT if a pattern does not compile; the message names it.
  static absl::StatusOr<std::unique_ptr<const PreTokenizer>> Create(
      const std::vector<PreTokenizerStep>& steps);
  ~PreTokenizer();

  // Calls `emit` with the words of `text` (valid UTF-8) in order; a view lives for the call.
  // RESOURCE_EXHAUSTED if a pattern backtracks beyond all measure on this text; some words may have
  // been emitted then.
  absl::Status Split(std::string_view text, absl::FunctionRef<void(std::string_view)> emit) const;

 private:
  struct Step;
  class Run;

  PreTokenizer() = default;

  std::vector<Step> steps_;
};

}  // namespace lynx
