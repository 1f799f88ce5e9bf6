#include "cli/collected.h"

namespace lynx {
namespace {

absl::Status AddTokens(const v1::Tokens& tokens, Collected* to) {
  int64_t index = tokens.first_index();
  for (const v1::TokenInfo& token : tokens.tokens()) {
    const auto size = static_cast<int64_t>(to->tokens.size());
    if (index < to->committed || index > size) {
      return absl::InternalError(absl::StrCat("token ", index, " came behind ", to->committed,
                                              " committed and ", size, " known ones"));
    }
    if (index == size) {
      to->tokens.push_back(token);
    } else if (to->tokens[index].id() != token.id()) {
      return absl::InternalError(absl::StrCat("token ", index, " changed without a rollback"));
    } else {
      to->tokens[index] = token;
    }
    ++index;
    if (!tokens.provisional()) to->committed = index;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Collected::Add(const v1::GenerateEvent& event) {
  switch (event.event_case()) {
    case v1::GenerateEvent::kTokens:
      return AddTokens(event.tokens(), this);
    case v1::GenerateEvent::kRollbackTo:
      if (event.rollback_to() < committed ||
          event.rollback_to() > static_cast<int64_t>(tokens.size())) {
        return absl::InternalError(absl::StrCat("rollback to ", event.rollback_to()));
      }
      tokens.resize(event.rollback_to());
      return absl::OkStatus();
    case v1::GenerateEvent::kPromptLogprobs:
      prompt_logprobs.insert(prompt_logprobs.end(), event.prompt_logprobs().tokens().begin(),
                             event.prompt_logprobs().tokens().end());
      return absl::OkStatus();
    case v1::GenerateEvent::kFinished:
      finished = event.finished();
      if (committed != static_cast<int64_t>(tokens.size())) {
        return absl::InternalError("finished with provisional tokens");
      }
      return absl::OkStatus();
    case v1::GenerateEvent::EVENT_NOT_SET:
      break;
  }
  return absl::InternalError("an empty event");
}

std::vector<int32_t> Collected::ids() const {
  std::vector<int32_t> out;
  for (const v1::TokenInfo& token : tokens) out.push_back(token.id());
  return out;
}

}  // namespace lynx
