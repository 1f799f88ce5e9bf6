// Some fields of a request with their keys in the client's order, as Python's json gives them to a
// chat template: `tojson` and loops over a message's keys show it.
#pragma once

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "gateway/json_fields.h"

namespace lynx {

// Keys of one object. An ordered object looks keys up one by one, so without a limit the work would
// grow with the square of a body's size.
inline constexpr size_t kMaxOrderedKeys = 256;

// Of `body`, which ParseRequestBody took, the fields called `names`; absent ones are left out. Of a
// key given twice the last value counts, at the first one's place. INVALID_ARGUMENT that names the
// field: an object in it has more than kMaxOrderedKeys keys.
absl::StatusOr<OrderedJson> ParseOrderedFields(std::string_view body,
                                               std::vector<std::string_view> names);

}  // namespace lynx
