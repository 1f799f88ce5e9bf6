#include "decode/sequence.h"

#include <algorithm>

#include "runtime/status.h"

namespace lynx::decode {

Sequence::Sequence(SequenceLimits limits) : limits_(std::move(limits)) {
  LYNX_CHECK(limits_.max_tokens >= 1 && limits_.max_draft_tokens >= 0);
}

bool Sequence::Ends(int32_t token) const {
  return std::find(limits_.ending_ids.begin(), limits_.ending_ids.end(), token) !=
         limits_.ending_ids.end();
}

bool Sequence::Append(int32_t token) {
  committed_.push_back(token);
  if (Ends(token)) {
    finish_reason_ = FinishReason::kStop;
  } else if (static_cast<int64_t>(committed_.size()) == limits_.max_tokens) {
    finish_reason_ = FinishReason::kLength;
  }
  return finish_reason_ != FinishReason::kNone;
}

void Sequence::CommitFirst(int32_t token) {
  LYNX_CHECK(state_ == State::kWaiting);
  state_ = Append(token) ? State::kDone : State::kDrafting;
}

bool Sequence::CanPropose() const {
  if (state_ != State::kDrafting || drafted() >= limits_.max_draft_tokens) return false;
  // The verification pass adds one token of its own: a draft in the last place could never be
  // followed by it.
  if (static_cast<int64_t>(committed_.size()) + drafted() + 1 >= limits_.max_tokens) return false;
  return draft_tokens_.empty() || !Ends(draft_tokens_.back());
}

int32_t Sequence::LastToken() const {
  return draft_tokens_.empty() ? committed_.back() : draft_tokens_.back();
}

int64_t Sequence::LastIndex() const {
  return static_cast<int64_t>(committed_.size()) + drafted() - 1;
}

void Sequence::Propose(int32_t token, float margin) {
  LYNX_CHECK(CanPropose());
  draft_tokens_.push_back(token);
  draft_parents_.push_back(static_cast<int32_t>(draft_parents_.size()) - 1);
  draft_depths_.push_back(static_cast<int32_t>(draft_depths_.size()) + 1);
  draft_margins_.push_back(margin);
}

void Sequence::BeginVerification() {
  LYNX_CHECK(state_ == State::kDrafting);
  state_ = draft_tokens_.empty() ? State::kDecoding : State::kVerifying;
}

std::vector<int32_t> Sequence::VerificationRows() const {
  std::vector<int32_t> rows;
  rows.reserve(draft_tokens_.size() + 1);
  rows.push_back(committed_.back());
  rows.insert(rows.end(), draft_tokens_.begin(), draft_tokens_.end());
  return rows;
}

Sequence::Outcome Sequence::Commit(std::span<const int32_t> sampled) {
  LYNX_CHECK(state_ == State::kVerifying && !sampled.empty() &&
             sampled.size() <= draft_tokens_.size() + 1);
  Outcome outcome;
  bool ended = false;
  for (size_t row = 0; row < sampled.size() && !ended; ++row) {
    const bool agrees = row < draft_tokens_.size() && sampled[row] == draft_tokens_[row];
    outcome.accepted += agrees ? 1 : 0;
    ended = Append(sampled[row]);
    ++outcome.committed;
    if (!agrees) break;
  }
  outcome.rolled_back = drafted() - outcome.accepted;
  draft_tokens_.clear();
  draft_parents_.clear();
  draft_depths_.clear();
  draft_margins_.clear();
  state_ = ended ? State::kDone : State::kDecoding;
  return outcome;
}

void Sequence::CommitOne(int32_t token) {
  LYNX_CHECK(state_ == State::kDecoding);
  if (Append(token)) state_ = State::kDone;
}

}  // namespace lynx::decode
