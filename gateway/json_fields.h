// Reads typed fields of a JSON object that a client sent. The first error is kept with the field's
// name and what was wanted; after it every read does nothing. An explicit null is an absent field.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace lynx {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;  // keeps the order of keys; looks them up one by one

// Parses a request's body: an object, nested at most 64 deep (what reads it later recurses).
absl::StatusOr<Json> ParseRequestBody(std::string_view body);

class JsonFields {
 public:
  // `object` must be a JSON object and outlive this. `prefix` ("lynx.") is put before names in
  // errors.
  explicit JsonFields(const Json& object, std::string prefix = "")
      : object_(object), prefix_(std::move(prefix)) {}

  // The field, or nullptr if it is absent or null.
  const Json* Find(std::string_view name) const;

  void Bool(std::string_view name, bool* out);
  void String(std::string_view name, std::string* out);
  // Ranges are inclusive.
  void Int(std::string_view name, int64_t min, int64_t max, int64_t* out);
  void OptionalInt(std::string_view name, int64_t min, int64_t max, std::optional<int64_t>* out);
  void Number(std::string_view name, double min, double max, double* out);
  // A list of token ids.
  void Ids(std::string_view name, std::vector<int32_t>* out);

  void Fail(std::string_view name, std::string_view message);
  // Takes over the error of a nested object's fields, if there is one.
  void Adopt(const absl::Status& status) {
    if (status_.ok()) status_ = status;
  }
  const absl::Status& status() const { return status_; }

 private:
  const Json& object_;
  const std::string prefix_;
  absl::Status status_;
};

// nullopt: not a list of integers in the range of int32.
std::optional<std::vector<int32_t>> ToIds(const Json& value);

}  // namespace lynx
