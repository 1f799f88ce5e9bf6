// Typed access to the fields of tokenizer.json. Errors name the field.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "runtime/status.h"

namespace lynx {

// Null if `object` is no object, the field is absent, or it is null.
const nlohmann::json* FindField(const nlohmann::json& object, std::string_view name);

// The field, or INVALID_ARGUMENT.
absl::StatusOr<const nlohmann::json*> NeedField(const nlohmann::json& object,
                                                std::string_view name);

// `absent` if absent or null; INVALID_ARGUMENT if not of the type.
absl::StatusOr<bool> BoolField(const nlohmann::json& object, std::string_view name, bool absent);
absl::StatusOr<std::string> StringField(const nlohmann::json& object, std::string_view name,
                                        std::string_view absent);

// A token id, 0 .. kMaxTokenId.
absl::StatusOr<int32_t> TokenIdOf(const nlohmann::json& value);

// UNIMPLEMENTED: "<where> <what> is not supported".
absl::Status Unsupported(std::string_view where, std::string_view what);

}  // namespace lynx
