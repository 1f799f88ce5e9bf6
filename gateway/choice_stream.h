// One choice's tokens as they come from a decode server, turned into what its client is sent: text,
// stop strings, where each token's text begins, the number of tokens used. No I/O; not thread-safe.
//
// Everything is decided token by token, as a function of the tokens so far: how they were bundled,
// and which provisional tokens came and went, never changes the text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gateway/text_model.h"
#include "proto/lynx.pb.h"

namespace lynx {

struct ChoiceOptions {
  std::vector<std::string> stops;  // none is empty
  std::vector<int32_t> stop_token_ids;
  bool ignore_eos = false;
  bool skip_special_tokens = true;
  bool include_stop_str = false;  // leave the stop string in the text
  int64_t min_tokens = 0;         // no stop string ends the text before so many tokens
  bool speculative = false;       // provisional tokens are passed on
  bool discard = false;           // max_tokens 0: the one token that was computed is not shown
};

struct TokenPiece {
  int32_t id = 0;
  double logprob = 0;
  std::vector<v1::TopLogprob> top;
  int64_t text_offset_chars = 0;  // where its text begins, in the choice's text
};

enum class Finish { kStop, kLength };

// What one chunk tells a client. `text` is what may be shown now of tokens up to this delta's last;
// characters that are incomplete, or that may become a stop string, wait for a later delta.
struct ChoiceDelta {
  std::string text;
  int64_t first_index = 0;
  std::vector<TokenPiece> tokens;
  bool provisional = false;
  bool rollback = false;  // takes back every token from first_index on; nothing else is set
  std::optional<Finish> finish;
};

class ChoiceStream {
 public:
  // `model` outlives this.
  ChoiceStream(const TextModel* model, ChoiceOptions options);

  // Each appends to `out`. INTERNAL: the server broke the protocol (a gap, a committed token again,
  // a provisional token nobody asked for). After finished() they do nothing.
  absl::Status OnTokens(const v1::Tokens& tokens, std::vector<ChoiceDelta>* out);
  absl::Status OnRollback(int64_t index, std::vector<ChoiceDelta>* out);
  absl::Status OnFinished(v1::FinishReason reason, std::vector<ChoiceDelta>* out);

  // A stop string may finish a choice before the server does; the call is then to be cancelled.
  bool finished() const { return finished_; }

  // Committed tokens, to the one that completed the stop string.
  int64_t completion_tokens() const { return options_.discard ? 0 : committed_; }

 private:
  // The state after some number of tokens.
  struct Mark {
    size_t bytes_end = 0;   // in bytes_
    size_t pending = 0;     // of those, bytes of an incomplete character
    size_t text_end = 0;    // in text_
    int64_t chars_end = 0;  // code points
    size_t show_end = 0;    // what may be shown
    bool stopped = false;   // a stop string is complete
  };

  int64_t size() const { return static_cast<int64_t>(ids_.size()); }
  bool EndsText(int32_t id) const;
  void Append(int32_t id);
  void FindStop(size_t old_text_end, Mark* mark) const;
  size_t HeldBack() const;
  void Truncate(int64_t count, std::vector<ChoiceDelta>* out);
  absl::Status Place(const v1::TokenInfo& token, int64_t index, bool provisional,
                     std::vector<ChoiceDelta>* out);
  void Show(const v1::TokenInfo& token, bool provisional, std::vector<ChoiceDelta>* out);
  void Commit(int64_t count, std::vector<ChoiceDelta>* out);
  void Finalize(Finish finish, std::vector<ChoiceDelta>* out);

  const TextModel* const model_;
  const ChoiceOptions options_;
  size_t longest_stop_ = 0;

  std::vector<int32_t> ids_;
  std::vector<Mark> marks_;  // [ids_.size() + 1]
  std::string bytes_;
  std::string text_;
  int64_t committed_ = 0;
  bool finished_ = false;
  // Where OnTokens found `out`: tokens of one event share a delta unless the client tracks
  // provisional ones.
  size_t event_begin_ = 0;
};

}  // namespace lynx
