// JSON that is not trusted: bounded, without exceptions, with errors that name the field.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "runtime/status.h"

namespace lynx {

// The object in `text`. INVALID_ARGUMENT for malformed JSON, for a key that is there twice, for
// anything but an object, and for nesting deeper than 64.
absl::StatusOr<nlohmann::json> ParseJsonObject(std::string_view text);

// The object in the file, which may have at most `max_bytes`. Errors name the path.
absl::StatusOr<nlohmann::json> ReadJsonFile(const std::string& path, uint64_t max_bytes);

// Fields of an object. A field that is absent or null gives NOT_FOUND, or `absent`; of another
// type: INVALID_ARGUMENT.
class JsonFields {
 public:
  explicit JsonFields(const nlohmann::json& object) : object_(object) {}

  const nlohmann::json* Find(const char* key) const;  // null if absent or null

  absl::StatusOr<int64_t> Int(const char* key) const;
  absl::StatusOr<int64_t> IntOr(const char* key, int64_t absent) const;
  absl::StatusOr<double> Float(const char* key) const;  // integers are converted
  absl::StatusOr<double> FloatOr(const char* key, double absent) const;
  absl::StatusOr<bool> BoolOr(const char* key, bool absent) const;
  absl::StatusOr<std::string> String(const char* key) const;
  absl::StatusOr<std::string> StringOr(const char* key, std::string_view absent) const;

 private:
  const nlohmann::json& object_;
};

// A JSON integer that fits, or INVALID_ARGUMENT.
absl::StatusOr<int64_t> JsonInt(const nlohmann::json& value);

}  // namespace lynx
