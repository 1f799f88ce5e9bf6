// What a request has generated so far: committed tokens, and the tree of drafts behind them. No
// I/O, no model.
//
// Indices count generated tokens: index 0 is the first token, which the prefill sampled and which
// is committed at once. With a prompt of T tokens, index i stands at position T + i.
//
// The drafts are a tree in flat arrays; today it has one branch, so a node's parent is the node
// before it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace lynx::decode {

enum class State { kWaiting, kDrafting, kVerifying, kDecoding, kDone, kFailed };

enum class FinishReason { kNone, kStop, kLength };

struct SequenceLimits {
  int64_t max_tokens = 0;           // committed tokens in all, at least 1
  int64_t max_draft_tokens = 0;     // nodes of the tree
  std::vector<int32_t> ending_ids;  // sampling one of these ends the text; it is the last token
};

class Sequence {
 public:
  explicit Sequence(SequenceLimits limits);

  State state() const { return state_; }
  FinishReason finish_reason() const { return finish_reason_; }
  // All committed tokens, [committed].
  std::span<const int32_t> committed() const { return committed_; }
  int64_t drafted() const { return static_cast<int64_t>(draft_tokens_.size()); }

  // kWaiting -> kDrafting, or kDone if this token ends the text or is the only one wanted.
  void CommitFirst(int32_t token);

  // True while another draft may be useful: drafting, below the limits, and the last draft does not
  // end the text.
  bool CanPropose() const;
  // The token whose successor is drafted next, and its index.
  int32_t LastToken() const;
  int64_t LastIndex() const;
  // Adds the child `token` of the last node. CanPropose() must hold.
  void Propose(int32_t token, float margin);

  // kDrafting -> kVerifying (with drafts) or kDecoding (without any).
  void BeginVerification();
  // The rows of the verification pass: the last committed token, then the drafts; [drafted + 1].
  std::vector<int32_t> VerificationRows() const;

  struct Outcome {
    int64_t accepted = 0;     // drafts that the target sampled too
    int64_t rolled_back = 0;  // drafts that it did not, or that stand behind one
    int64_t committed = 0;    // tokens added: accepted ones and the target's own next one
  };
  // `sampled[i]` is what the target samples behind row i of VerificationRows(); it may end with the
  // first token that differs from the draft, since later rows say nothing. Commits the longest
  // prefix that agrees and the target's token behind it, drops the rest. kVerifying -> kDecoding or
  // kDone.
  Outcome Commit(std::span<const int32_t> sampled);

  // Plain decoding: kDecoding -> kDecoding or kDone.
  void CommitOne(int32_t token);

  void Fail() { state_ = State::kFailed; }

 private:
  bool Ends(int32_t token) const;
  // Adds one token; true if it was the last.
  bool Append(int32_t token);

  const SequenceLimits limits_;
  State state_ = State::kWaiting;
  FinishReason finish_reason_ = FinishReason::kNone;
  std::vector<int32_t> committed_;
  // The tree: [nodes]. parent -1 is the last committed token; depth counts from 1.
  std::vector<int32_t> draft_tokens_;
  std::vector<int32_t> draft_parents_;
  std::vector<int32_t> draft_depths_;
  std::vector<float> draft_margins_;
};

}  // namespace lynx::decode
