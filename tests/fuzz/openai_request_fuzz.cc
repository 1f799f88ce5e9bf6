// fuzz-links: lynx_gateway
// Whatever a client sends is a request or an error with a message.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "gateway/openai_request.h"

namespace {

template <typename T>
void CheckError(const absl::StatusOr<T>& result) {
  if (!result.ok() && (result.status().message().empty() ||
                       result.status().code() != absl::StatusCode::kInvalidArgument)) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  const lynx::RequestLimits limits;
  const auto completion = lynx::ParseCompletionRequest(body, limits);
  CheckError(completion);
  if (completion.ok() && (completion->prompts.empty() || completion->fields.n < 1)) std::abort();
  const auto chat = lynx::ParseChatRequest(body, limits);
  CheckError(chat);
  if (chat.ok() && !chat->messages.is_array()) std::abort();
  CheckError(lynx::ParseTokenizeRequest(body));
  CheckError(lynx::ParseDetokenizeRequest(body));
  return 0;
}
