// Reading and writing one field's value. Errors say what the value must be; the caller adds where
// it stood and the field's path.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "config/fields.h"
#include "runtime/status.h"

namespace lynx {

// From a file: a scalar, or an array of scalars. Sets nothing on error.
absl::Status SetFromJson(const Field& field, const nlohmann::json& value);

// From the environment or a flag: true or false, a number, a text, or texts separated by commas
// (none if empty). Sets nothing on error.
absl::Status SetFromText(const Field& field, std::string_view text);

// Range or choices of the value that the field has.
absl::Status CheckValue(const Field& field);

nlohmann::ordered_json ToJson(const Field& field);

// "an integer from 0 to 65535", "one of int8, bf16", ...
std::string Expectation(const Field& field);

}  // namespace lynx
