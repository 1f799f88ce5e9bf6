// Values as text: Python's str and repr, and JSON.
#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "model/template/budget.h"
#include "model/template/value.h"

namespace lynx::jinja {

// str(v); undefined gives nothing. Errors: values that print an address in Python, size.
absl::StatusOr<Text> ToStr(const Value& v, Budget& budget);
absl::StatusOr<Text> ToRepr(const Value& v, Budget& budget);

struct JsonStyle {
  bool ascii_only = false;
  std::optional<Text> indent;  // one level
  Text item_separator{", "};
  Text key_separator{": "};
  bool sort_keys = false;
};
// json.dumps. Errors: values that JSON cannot hold, undefined, size.
absl::StatusOr<Text> ToJson(const Value& v, const JsonStyle& style, Budget& budget);

}  // namespace lynx::jinja
