// JSON as a template's values.
#pragma once

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "model/template/value.h"

namespace lynx::jinja {

// Strings and keys are marked with `from_user`. Errors: too deep, integers beyond 64 bits, binary.
absl::StatusOr<Value> FromJson(const nlohmann::ordered_json& json, bool from_user);

}  // namespace lynx::jinja
