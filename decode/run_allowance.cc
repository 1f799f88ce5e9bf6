#include "decode/run_allowance.h"

#include <algorithm>

namespace lynx::decode {
namespace {

// The largest encoding of honest messages: a tag is one byte, an id or index at most five, a double
// eight, the length of a message inside another at most five.
constexpr size_t kMessageBytes = 32;  // everything outside the repeated parts
constexpr size_t kBlockIdBytes = 1 + 5 + 3 * (1 + 5);
constexpr size_t kTopLogprobBytes = 1 + 5 + (1 + 5) + (1 + 8);
constexpr size_t kTokenInfoBytes = kTopLogprobBytes;  // without its alternatives

absl::Status Take(int64_t count, int64_t* left, const char* what) {
  if (count > 0 && count <= *left) {
    *left -= count;
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("it sent ", what, " ", count, " times, where ", *left, " may still come"));
}

// Bytes that nothing in the message accounts for are unknown fields or ids that cannot be.
absl::Status CheckBytes(const v1::PrefillToDecode& message) {
  size_t bytes = kMessageBytes + message.raw_pages().pages_size() * kBlockIdBytes;
  const auto add = [&](const v1::TokenInfo& token) {
    bytes += kTokenInfoBytes + token.top_size() * kTopLogprobBytes;
  };
  if (message.has_first_token()) add(message.first_token().token());
  for (const v1::TokenInfo& token : message.prompt_logprobs().tokens()) add(token);
  if (message.ByteSizeLong() <= bytes) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("it sent a message of ", message.ByteSizeLong(),
                                                 " bytes whose content has at most ", bytes));
}

absl::Status CheckTop(const v1::TokenInfo& token, int64_t top_max) {
  if (token.top_size() <= top_max) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("it sent ", token.top_size(),
                                                 " alternatives of a token, where ", top_max,
                                                 " were asked for"));
}

}  // namespace

RunAllowance::RunAllowance(const v1::RunRequest& run, const KvGeometry& geometry)
    : top_of_token_(std::max(run.logprobs(), 0)),
      top_of_prompt_token_(std::max(run.prompt_logprobs(), 0)),
      raw_pages_(run.transfer_kv() && geometry.has_code()
                     ? geometry.layers * (run.prompt_size() / kPageTokens)
                     : 0),
      prompt_logprobs_(run.prompt_logprobs() >= 0 ? run.prompt_size() - 1 : 0) {}

absl::Status RunAllowance::Take(const v1::PrefillToDecode& message) {
  RETURN_IF_ERROR(CheckBytes(message));
  switch (message.message_case()) {
    case v1::PrefillToDecode::kReady:
      return decode::Take(1, &readies_, "ready");
    case v1::PrefillToDecode::kRawPages:
      return decode::Take(message.raw_pages().pages_size(), &raw_pages_, "a raw page");
    case v1::PrefillToDecode::kPromptLogprobs:
      return TakeLogprobs(message.prompt_logprobs());
    case v1::PrefillToDecode::kFirstToken:
      RETURN_IF_ERROR(CheckTop(message.first_token().token(), top_of_token_));
      return decode::Take(1, &first_tokens_, "a first token");
    case v1::PrefillToDecode::kAllSent:
      return decode::Take(1, &all_sents_, "all_sent");
    case v1::PrefillToDecode::MESSAGE_NOT_SET:
      return absl::OkStatus();
  }
  return absl::OkStatus();
}

absl::Status RunAllowance::TakeLogprobs(const v1::PromptLogprobs& logprobs) {
  for (const v1::TokenInfo& token : logprobs.tokens()) {
    RETURN_IF_ERROR(CheckTop(token, top_of_prompt_token_));
  }
  return decode::Take(logprobs.tokens_size(), &prompt_logprobs_, "a prompt token's values");
}

}  // namespace lynx::decode
