#include "gateway/openai_messages.h"

#include "absl/strings/str_cat.h"
#include "gateway/api_error.h"
#include "runtime/status.h"

namespace lynx {
namespace {

absl::Status CheckParts(const OrderedJson& parts, const std::string& where) {
  for (size_t i = 0; i < parts.size(); ++i) {
    const OrderedJson& part = parts[i];
    const std::string here = absl::StrCat(where, "[", i, "]");
    if (!part.is_object()) return BadField(here, absl::StrCat("`", here, "` must be an object."));
    const auto type = part.find("type");
    if (type == part.end() || *type != "text") {
      return BadField(here, absl::StrCat("`", here, "`: only the type \"text\" is supported."));
    }
    const auto text = part.find("text");
    if (text == part.end() || !text->is_string()) {
      return BadField(here, absl::StrCat("`", here, ".text` must be a string."));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckContent(const OrderedJson& message, const std::string& where) {
  const auto content = message.find("content");
  if (content == message.end() || content->is_null() || content->is_string()) {
    return absl::OkStatus();
  }
  const std::string here = where + ".content";
  if (content->is_array()) return CheckParts(*content, here);
  return BadField(here, absl::StrCat("`", here, "` must be a string or a list of parts."));
}

absl::Status FixMessage(const std::string& where, OrderedJson& message) {
  if (!message.is_object())
    return BadField(where, absl::StrCat("`", where, "` must be an object."));
  const auto role = message.find("role");
  if (role == message.end() || !role->is_string()) {
    return BadField(where + ".role", absl::StrCat("`", where, ".role` must be a string."));
  }
  RETURN_IF_ERROR(CheckContent(message, where));
  if (*role == "developer") *role = "system";
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<OrderedJson> ParseMessages(OrderedJson messages) {
  if (!messages.is_array() || messages.empty()) {
    return BadField("messages", "`messages` must be a list of at least one message.");
  }
  for (size_t i = 0; i < messages.size(); ++i) {
    RETURN_IF_ERROR(FixMessage(absl::StrCat("messages[", i, "]"), messages[i]));
  }
  return messages;
}

}  // namespace lynx
