#include "model/pretokenizer.h"

#include <oniguruma.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "model/quoted.h"
#include "model/tokenizer_utf8.h"

namespace lynx {
namespace {

struct RegexFree {
  void operator()(regex_t* r) const { onig_free(r); }
};
using Regex = std::unique_ptr<regex_t, RegexFree>;

struct MatchParamFree {
  void operator()(OnigMatchParam* p) const { onig_free_match_param(p); }
};
using MatchParam = std::unique_ptr<OnigMatchParam, MatchParamFree>;

// Limits of one search. Backtracking steps may grow with the text (a run of n spaces takes n), but
// not faster. The stack is 40 bytes an entry: a run that no pattern can pass in 160 MiB is an
// error.
constexpr unsigned long kBaseRetries = 1'000'000;
constexpr unsigned long kRetriesPerByte = 64;
constexpr unsigned kMaxStackEntries = 4 << 20;

const OnigUChar* Bytes(const char* p) { return reinterpret_cast<const OnigUChar*>(p); }

std::string OnigMessage(int code, OnigErrorInfo* info) {
  OnigUChar message[ONIG_MAX_ERROR_MESSAGE_LEN];
  const int size = info != nullptr ? onig_error_code_to_str(message, code, info)
                                   : onig_error_code_to_str(message, code);
  return std::string(reinterpret_cast<const char*>(message), std::max(size, 0));
}

void InitializeOnig() {
  static std::once_flag once;
  std::call_once(once, [] {
    OnigEncoding utf8 = ONIG_ENCODING_UTF8;
    LYNX_CHECK(onig_initialize(&utf8, 1) == ONIG_NORMAL);
  });
}

absl::StatusOr<Regex> Compile(const std::string& pattern) {
  InitializeOnig();
  regex_t* raw = nullptr;
  OnigErrorInfo info;
  const OnigUChar* begin = Bytes(pattern.data());
  const int code = onig_new(&raw, begin, begin + pattern.size(), ONIG_OPTION_NONE,
                            ONIG_ENCODING_UTF8, ONIG_SYNTAX_RUBY, &info);
  if (code != ONIG_NORMAL) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tokenizer: pattern ", Quoted(pattern), " does not compile: ", OnigMessage(code, &info)));
  }
  return Regex(raw);
}

struct Piece {
  size_t begin, end;
  bool is_match;
};

std::vector<Piece> MergeContiguous(const std::vector<Piece>& pieces) {
  std::vector<Piece> out;
  for (const Piece& p : pieces) {
    if (!out.empty() && out.back().is_match == p.is_match) {
      out.back().end = p.end;
    } else {
      out.push_back(p);
    }
  }
  return out;
}

std::vector<Piece> MergeWithPrevious(const std::vector<Piece>& pieces) {
  std::vector<Piece> out;
  bool after_match = false;
  for (const Piece& p : pieces) {
    if (p.is_match && !after_match && !out.empty()) {
      out.back().end = p.end;
    } else {
      out.push_back(p);
    }
    after_match = p.is_match;
  }
  return out;
}

std::vector<Piece> MergeWithNext(std::vector<Piece> pieces) {
  std::vector<Piece> out;
  bool before_match = false;
  std::reverse(pieces.begin(), pieces.end());
  for (const Piece& p : pieces) {
    if (p.is_match && !before_match && !out.empty()) {
      out.back().begin = p.begin;
    } else {
      out.push_back(p);
    }
    before_match = p.is_match;
  }
  std::reverse(out.begin(), out.end());
  return out;
}

std::vector<Piece> ApplyBehavior(std::vector<Piece> pieces, SplitBehavior behavior) {
  switch (behavior) {
    case SplitBehavior::kIsolated:
      break;
    case SplitBehavior::kRemoved:
      std::erase_if(pieces, [](const Piece& p) { return p.is_match; });
      break;
    case SplitBehavior::kMergedWithPrevious:
      return MergeWithPrevious(pieces);
    case SplitBehavior::kMergedWithNext:
      return MergeWithNext(std::move(pieces));
    case SplitBehavior::kContiguous:
      return MergeContiguous(pieces);
  }
  return pieces;
}

}  // namespace

const std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

std::string QuotePattern(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view("\\.+*?()|[]{}^$#&-~/ \t\n\r").find(c) != std::string_view::npos) {
      out.push_back('\\');
    }
    out.push_back(c);
  }
  return out;
}

struct PreTokenizer::Step {
  PreTokenizerStep spec;
  Regex regex;  // null: no cutting
};

// One call of Split.
class PreTokenizer::Run {
 public:
  Run(const PreTokenizer& owner, absl::FunctionRef<void(std::string_view)> emit)
      : owner_(owner), emit_(emit), param_(onig_new_match_param()) {
    LYNX_CHECK(param_ != nullptr);
    onig_initialize_match_param(param_.get());
    onig_set_match_stack_limit_size_of_match_param(param_.get(), kMaxStackEntries);
  }

  absl::Status Apply(size_t step_index, std::string_view word) {
    if (word.empty()) return absl::OkStatus();
    if (step_index == owner_.steps_.size()) {
      emit_(word);
      return absl::OkStatus();
    }
    const Step& step = owner_.steps_[step_index];
    if (!step.spec.add_prefix_space || word[0] == ' ') return Cut(step_index, word);
    const std::string with_space = " " + std::string(word);
    return Cut(step_index, with_space);
  }

 private:
  absl::Status Cut(size_t step_index, std::string_view word) {
    const Step& step = owner_.steps_[step_index];
    if (step.regex == nullptr) return Apply(step_index + 1, word);
    if (step.spec.behavior == SplitBehavior::kIsolated) {
      return ForEachPiece(step, word, [&](const Piece& p) {
        return Apply(step_index + 1, word.substr(p.begin, p.end - p.begin));
      });
    }
    std::vector<Piece> pieces;
    RETURN_IF_ERROR(ForEachPiece(step, word, [&](const Piece& p) {
      pieces.push_back({p.begin, p.end, p.is_match != step.spec.invert});
      return absl::OkStatus();
    }));
    for (const Piece& p : ApplyBehavior(std::move(pieces), step.spec.behavior)) {
      RETURN_IF_ERROR(Apply(step_index + 1, word.substr(p.begin, p.end - p.begin)));
    }
    return absl::OkStatus();
  }

  // Calls `take` with the matches and the gaps between them, in order. An empty match right behind
  // another match is none, as in Rust's onig::Regex::find_iter.
  template <typename Take>
  absl::Status ForEachPiece(const Step& step, std::string_view word, const Take& take) {
    size_t done = 0;
    size_t from = 0;
    size_t last_match_end = std::string_view::npos;
    while (from <= word.size()) {
      size_t begin = from, end = from;
      bool found = false;
      RETURN_IF_ERROR(Find(step, word, &begin, &end, &found));
      if (!found) break;
      if (begin == end && begin == last_match_end) {
        from += from < word.size() ? NextUtf8Unit(word, from).size : 1;
        continue;
      }
      if (done < begin) RETURN_IF_ERROR(take(Piece{done, begin, false}));
      RETURN_IF_ERROR(take(Piece{begin, end, true}));
      done = from = last_match_end = end;
    }
    if (done < word.size()) return take(Piece{done, word.size(), false});
    return absl::OkStatus();
  }

  // The first match from *begin on. Nearly every match starts right there, and onig_match is much
  // cheaper than a search.
  absl::Status Find(const Step& step, std::string_view word, size_t* begin, size_t* end,
                    bool* found) {
    const unsigned long retries = kBaseRetries + kRetriesPerByte * (word.size() - *begin);
    onig_set_retry_limit_in_match_of_match_param(param_.get(), retries);
    onig_set_retry_limit_in_search_of_match_param(param_.get(), retries);
    const OnigUChar* text = Bytes(word.data());
    const OnigUChar* text_end = text + word.size();
    const auto match_at = [&](size_t at) {
      return onig_match_with_param(step.regex.get(), text, text_end, text + at, nullptr,
                                   ONIG_OPTION_NONE, param_.get());
    };
    int size = match_at(*begin);
    if (size == ONIG_MISMATCH) {
      const int at = onig_search_with_param(step.regex.get(), text, text_end, text + *begin,
                                            text_end, nullptr, ONIG_OPTION_NONE, param_.get());
      if (at == ONIG_MISMATCH) return absl::OkStatus();
      if (at < 0) return LimitError(at);
      *begin = static_cast<size_t>(at);
      size = match_at(*begin);
    }
    if (size < 0) return LimitError(size);
    *end = *begin + static_cast<size_t>(size);
    *found = true;
    return absl::OkStatus();
  }

  static absl::Status LimitError(int code) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "tokenizer: the text cannot be split within the limits: ", OnigMessage(code, nullptr)));
  }

  const PreTokenizer& owner_;
  absl::FunctionRef<void(std::string_view)> emit_;
  MatchParam param_;
};

PreTokenizer::~PreTokenizer() = default;

absl::StatusOr<std::unique_ptr<const PreTokenizer>> PreTokenizer::Create(
    const std::vector<PreTokenizerStep>& steps) {
  std::unique_ptr<PreTokenizer> result(new PreTokenizer());
  for (const PreTokenizerStep& spec : steps) {
    Regex regex;
    if (!spec.pattern.empty()) {
      ASSIGN_OR_RETURN(regex, Compile(spec.pattern));
    }
    result->steps_.push_back({spec, std::move(regex)});
  }
  return result;
}

absl::Status PreTokenizer::Split(std::string_view text,
                                 absl::FunctionRef<void(std::string_view)> emit) const {
  return Run(*this, emit).Apply(0, text);
}

}  // namespace lynx
