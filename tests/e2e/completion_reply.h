// What a client makes of the answer to a completion, whole or streamed.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/status.h"
#include "tests/gateway/test_client.h"

namespace lynx {

struct ReplyChoice {
  std::string text;
  std::vector<int32_t> ids;  // the completion's, with return_token_ids
  std::string finish_reason;
  // Of the echoed prompt and the completion; OpenAI's parallel arrays.
  std::vector<nlohmann::json> token_logprobs, top_logprobs;
  std::vector<int64_t> text_offset;
};

struct CompletionReply {
  std::vector<ReplyChoice> choices;
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
};

// Takes back what rollbacks take back. An error of the server, or what breaks the protocol that
// docs/http-api.md describes, is INTERNAL.
absl::StatusOr<CompletionReply> ReadCompletion(const TestReply& reply, bool stream, size_t choices);

}  // namespace lynx
