// The `messages` of a chat request.
#pragma once

#include "absl/status/statusor.h"
#include "gateway/json_fields.h"

namespace lynx {

// Checks that each message is an object with a role, and `content` a string, a list of text parts,
// null or absent; the chat template knows which of these it takes and brings one into another. The
// role "developer", which few templates know, becomes "system". Other keys are kept.
absl::StatusOr<OrderedJson> ParseMessages(OrderedJson messages);

}  // namespace lynx
