// Log-probabilities in the two forms that OpenAI's endpoints give them.
#pragma once

#include <string>
#include <vector>

#include "gateway/choice_stream.h"
#include "gateway/json_fields.h"
#include "gateway/text_model.h"

namespace lynx {

// A token's own text: special tokens are shown, a part of a character is U+FFFD; "token_id:7" if
// asked.
std::string TokenString(const TextModel& model, int32_t id, bool as_id);

// JSON has no infinity; clients expect -9999.
double ClampLogprob(double logprob);

// {"content":[{token, logprob, bytes, top_logprobs}]} of a chat completion.
OrderedJson ChatLogprobs(const TextModel& model, const std::vector<TokenPiece>& tokens,
                         bool as_ids);

// {tokens, token_logprobs, top_logprobs, text_offset} of a completion.
class CompletionLogprobs {
 public:
  CompletionLogprobs(const TextModel* model, bool as_ids, int top_count);

  // A prompt's first token has no log-probability.
  void AddFirst(int32_t id, int64_t text_offset_chars);
  // `base_chars` is added to the token's own offset.
  void Add(const TokenPiece& token, int64_t base_chars);

  OrderedJson Take() { return std::move(json_); }

 private:
  OrderedJson TopDict(const TokenPiece& token) const;

  const TextModel* const model_;
  const bool as_ids_;
  const int top_count_;
  OrderedJson json_;
};

}  // namespace lynx
