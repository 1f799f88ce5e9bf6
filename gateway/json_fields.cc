#include "gateway/json_fields.h"

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "gateway/api_error.h"

namespace lynx {
namespace {

constexpr int kMaxDepth = 64;

absl::string_view Absl(std::string_view s) { return {s.data(), s.size()}; }

bool TooDeep(std::string_view body) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < body.size(); ++i) {
    const char c = body[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxDepth) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

// Integers may be written as 5 or 5.0; anything with a fraction is none.
std::optional<int64_t> ToInt(const Json& value) {
  if (value.is_number_unsigned()) {
    const uint64_t u = value.get<uint64_t>();
    if (u > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
    return static_cast<int64_t>(u);
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  if (!value.is_number_float()) return std::nullopt;
  const double d = value.get<double>();
  if (!(std::abs(d) < 9e15) || d != std::floor(d)) return std::nullopt;
  return static_cast<int64_t>(d);
}

}  // namespace

absl::StatusOr<Json> ParseRequestBody(std::string_view body) {
  if (TooDeep(body)) {
    return BadField("", absl::StrCat("The body is nested more than ", kMaxDepth, " deep."));
  }
  try {
    Json value = Json::parse(body.begin(), body.end());
    if (!value.is_object()) return BadField("", "The body must be a JSON object.");
    return value;
  } catch (const Json::exception& e) {  // the only exceptions of this folder end here
    return BadField("", absl::StrCat("The body is not valid JSON: ", e.what()));
  }
}

std::optional<std::vector<int32_t>> ToIds(const Json& value) {
  if (!value.is_array()) return std::nullopt;
  std::vector<int32_t> ids;
  ids.reserve(value.size());
  for (const Json& item : value) {
    const std::optional<int64_t> id = ToInt(item);
    if (!id || *id < 0 || *id > std::numeric_limits<int32_t>::max()) return std::nullopt;
    ids.push_back(static_cast<int32_t>(*id));
  }
  return ids;
}

const Json* JsonFields::Find(std::string_view name) const {
  const auto it = object_.find(name);
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

void JsonFields::Fail(std::string_view name, std::string_view message) {
  if (!status_.ok()) return;
  const std::string param = absl::StrCat(prefix_, Absl(name));
  status_ = BadField(param, absl::StrCat("`", param, "` ", Absl(message)));
}

void JsonFields::Bool(std::string_view name, bool* out) {
  const Json* value = Find(name);
  if (value == nullptr) return;
  if (!value->is_boolean()) return Fail(name, "must be true or false.");
  *out = value->get<bool>();
}

void JsonFields::String(std::string_view name, std::string* out) {
  const Json* value = Find(name);
  if (value == nullptr) return;
  if (!value->is_string()) return Fail(name, "must be a string.");
  *out = value->get<std::string>();
}

void JsonFields::Int(std::string_view name, int64_t min, int64_t max, int64_t* out) {
  std::optional<int64_t> value;
  OptionalInt(name, min, max, &value);
  if (value) *out = *value;
}

void JsonFields::OptionalInt(std::string_view name, int64_t min, int64_t max,
                             std::optional<int64_t>* out) {
  const Json* value = Find(name);
  if (value == nullptr) return;
  const std::optional<int64_t> i = ToInt(*value);
  if (!i) return Fail(name, "must be an integer.");
  if (*i < min || *i > max) {
    return Fail(name, absl::StrCat("must be between ", min, " and ", max, "; it is ", *i, "."));
  }
  *out = *i;
}

void JsonFields::Number(std::string_view name, double min, double max, double* out) {
  const Json* value = Find(name);
  if (value == nullptr) return;
  if (!value->is_number()) return Fail(name, "must be a number.");
  const double d = value->get<double>();
  if (!(d >= min && d <= max)) {
    return Fail(name, absl::StrCat("must be between ", min, " and ", max, "; it is ", d, "."));
  }
  *out = d;
}

void JsonFields::Ids(std::string_view name, std::vector<int32_t>* out) {
  const Json* value = Find(name);
  if (value == nullptr) return;
  std::optional<std::vector<int32_t>> ids = ToIds(*value);
  if (!ids) return Fail(name, "must be a list of token ids.");
  *out = std::move(*ids);
}

}  // namespace lynx
