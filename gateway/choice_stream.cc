#include "gateway/choice_stream.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "gateway/utf8.h"
#include "runtime/status.h"

namespace lynx {

ChoiceStream::ChoiceStream(const TextModel* model, ChoiceOptions options)
    : model_(model), options_(std::move(options)), marks_(1) {
  for (const std::string& stop : options_.stops)
    longest_stop_ = std::max(longest_stop_, stop.size());
}

absl::Status ChoiceStream::OnTokens(const v1::Tokens& tokens, std::vector<ChoiceDelta>* out) {
  if (finished_) return absl::OkStatus();
  const int64_t first = tokens.first_index();
  if (first < committed_ || first > size()) {
    return absl::InternalError(absl::StrCat("The decode server sent token ", first, " where ",
                                            committed_, " to ", size(), " can follow."));
  }
  if (tokens.provisional() && !options_.speculative) {
    return absl::InternalError("The decode server sent provisional tokens without being asked.");
  }
  // A committed token confirms every token before it.
  if (!tokens.provisional()) Commit(first, out);
  event_begin_ = out->size();
  for (int i = 0; i < tokens.tokens_size() && !finished_; ++i) {
    RETURN_IF_ERROR(Place(tokens.tokens(i), first + i, tokens.provisional(), out));
  }
  return absl::OkStatus();
}

absl::Status ChoiceStream::OnRollback(int64_t index, std::vector<ChoiceDelta>* out) {
  if (finished_) return absl::OkStatus();
  if (index < committed_ || index > size()) {
    return absl::InternalError(absl::StrCat("The decode server took back tokens from ", index,
                                            " on; ", committed_, " are committed."));
  }
  if (index < size()) Truncate(index, out);
  return absl::OkStatus();
}

absl::Status ChoiceStream::OnFinished(v1::FinishReason reason, std::vector<ChoiceDelta>* out) {
  if (finished_) return absl::OkStatus();
  if (reason == v1::FINISH_UNSPECIFIED) {
    return absl::InternalError("The decode server gave no reason for the end.");
  }
  if (size() > committed_) Truncate(committed_, out);  // nothing unconfirmed stays
  // What was held back is text after all.
  const Mark& last = marks_.back();
  ChoiceDelta rest;
  rest.first_index = size();
  rest.text = text_.substr(last.show_end, last.text_end - last.show_end);
  if (last.pending > 0) rest.text.append(LossyUtf8("\xF0"));
  if (!rest.text.empty()) out->push_back(std::move(rest));
  Finalize(reason == v1::FINISH_STOP ? Finish::kStop : Finish::kLength, out);
  return absl::OkStatus();
}

absl::Status ChoiceStream::Place(const v1::TokenInfo& token, int64_t index, bool provisional,
                                 std::vector<ChoiceDelta>* out) {
  if (token.id() < 0 || token.id() >= model_->vocab_size()) {
    return absl::InternalError(
        absl::StrCat("The decode server sent the token id ", token.id(), "."));
  }
  if (index < size() && ids_[index] != token.id()) Truncate(index, out);
  if (index == size()) {
    Append(token.id());
    Show(token, provisional, out);
  }
  if (!provisional) Commit(index + 1, out);
  return absl::OkStatus();
}

bool ChoiceStream::EndsText(int32_t id) const {
  if (!options_.ignore_eos && model_->IsEndOfText(id)) return true;
  return std::find(options_.stop_token_ids.begin(), options_.stop_token_ids.end(), id) !=
         options_.stop_token_ids.end();
}

void ChoiceStream::Append(int32_t id) {
  Mark mark = marks_.back();
  ids_.push_back(id);
  if (mark.stopped) {  // a provisional token behind the end: counted to keep the indices, never
                       // shown
    marks_.push_back(mark);
    return;
  }
  const size_t old_text_end = mark.text_end;
  // The token that ends the text is none of it.
  if (!EndsText(id)) model_->AppendTokenBytes(id, options_.skip_special_tokens, &bytes_);
  const std::string_view undecided = std::string_view(bytes_).substr(mark.bytes_end - mark.pending);
  mark.pending = AppendUtf8(undecided, &text_);
  mark.bytes_end = bytes_.size();
  mark.text_end = text_.size();
  mark.chars_end += CountCodePoints(std::string_view(text_).substr(old_text_end));
  if (size() >= options_.min_tokens) FindStop(old_text_end, &mark);
  if (!mark.stopped) mark.show_end = text_.size() - HeldBack();
  marks_.push_back(mark);
}

// The stop string that is complete first ends the text; of two that are complete at once, the
// longer.
void ChoiceStream::FindStop(size_t old_text_end, Mark* mark) const {
  size_t best_end = std::string::npos, best_begin = 0;
  for (const std::string& stop : options_.stops) {
    const size_t from = old_text_end >= stop.size() ? old_text_end - stop.size() + 1 : 0;
    const size_t begin = text_.find(stop, from);
    if (begin == std::string::npos) continue;
    const size_t end = begin + stop.size();
    if (end < best_end || (end == best_end && begin < best_begin)) {
      best_end = end;
      best_begin = begin;
    }
  }
  if (best_end == std::string::npos) return;
  mark->stopped = true;
  // Never behind what was shown: min_tokens may let text pass that begins a stop string.
  mark->show_end = std::max(mark->show_end, options_.include_stop_str ? best_end : best_begin);
}

// Bytes at the text's end that a stop string may begin with.
size_t ChoiceStream::HeldBack() const {
  if (longest_stop_ == 0) return 0;
  const std::string_view text = text_;
  for (size_t n = std::min(longest_stop_ - 1, text.size()); n > 0; --n) {
    const std::string_view tail = text.substr(text.size() - n);
    for (const std::string& stop : options_.stops) {
      if (stop.size() > n && std::string_view(stop).substr(0, n) == tail) return n;
    }
  }
  return 0;
}

void ChoiceStream::Truncate(int64_t count, std::vector<ChoiceDelta>* out) {
  ids_.resize(count);
  marks_.resize(count + 1);
  bytes_.resize(marks_.back().bytes_end);
  text_.resize(marks_.back().text_end);
  ChoiceDelta delta;
  delta.rollback = true;
  delta.first_index = count;
  out->push_back(std::move(delta));
}

// The newest token, in the event's delta or one of its own.
void ChoiceStream::Show(const v1::TokenInfo& token, bool provisional,
                        std::vector<ChoiceDelta>* out) {
  const Mark& before = marks_[size() - 1];
  const Mark& after = marks_[size()];
  if (before.stopped || options_.discard) return;
  if (options_.speculative || out->size() == event_begin_) {
    out->emplace_back();
    out->back().first_index = size() - 1;
    out->back().provisional = provisional;
  }
  ChoiceDelta& delta = out->back();
  delta.text.append(text_, before.show_end, after.show_end - before.show_end);
  TokenPiece piece;
  piece.id = token.id();
  piece.logprob = token.logprob();
  piece.top.assign(token.top().begin(), token.top().end());
  piece.text_offset_chars = before.chars_end;
  delta.tokens.push_back(std::move(piece));
}

void ChoiceStream::Commit(int64_t count, std::vector<ChoiceDelta>* out) {
  while (committed_ < count && !finished_) {
    ++committed_;
    if (options_.discard) return Finalize(Finish::kLength, out);
    if (marks_[committed_].stopped) Finalize(Finish::kStop, out);
  }
}

void ChoiceStream::Finalize(Finish finish, std::vector<ChoiceDelta>* out) {
  finished_ = true;
  ChoiceDelta delta;
  delta.first_index = committed_;
  delta.finish = finish;
  out->push_back(std::move(delta));
}

}  // namespace lynx
