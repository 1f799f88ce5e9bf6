#include "model/json_file.h"

#include <limits>
#include <set>
#include <vector>

#include "model/quoted.h"
#include "runtime/mapped_file.h"

namespace lynx {

namespace {

using nlohmann::json;

constexpr int kMaxDepth = 64;

absl::Status Wrong(const char* key, const char* wanted) {
  return absl::InvalidArgumentError(absl::StrCat("'", key, "' is no ", wanted));
}

absl::Status Missing(const char* key) {
  return absl::NotFoundError(absl::StrCat("'", key, "' is missing"));
}

// The value that stands for an absent field, or the field's.
template <typename T, typename Get>
absl::StatusOr<T> Or(const JsonFields& fields, const char* key, T absent, Get get) {
  if (fields.Find(key) == nullptr) return absent;
  return get();
}

}  // namespace

absl::StatusOr<json> ParseJsonObject(std::string_view text) {
  bool too_deep = false;
  std::string twice;
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  auto check = [&](int depth, json::parse_event_t event, json& parsed) {
    too_deep |= depth > kMaxDepth;
    if (too_deep) return false;  // from here on nothing is kept
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!keys.back().insert(key).second && twice.empty()) twice = Quoted(key);
    }
    return true;
  };
  json value = json::parse(text.begin(), text.end(), check, /*allow_exceptions=*/false);
  if (too_deep) return absl::InvalidArgumentError("JSON is nested too deeply");
  if (value.is_discarded()) return absl::InvalidArgumentError("malformed JSON");
  if (!twice.empty())
    return absl::InvalidArgumentError(absl::StrCat("JSON key ", twice, " is there twice"));
  if (!value.is_object()) return absl::InvalidArgumentError("not a JSON object");
  return value;
}

absl::StatusOr<json> ReadJsonFile(const std::string& path, uint64_t max_bytes) {
  ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  if (file.bytes().size() > max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", file.bytes().size(), " bytes, more than ", max_bytes));
  }
  auto value =
      ParseJsonObject({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()});
  if (!value.ok()) return Annotate(value.status(), path);
  return value;
}

absl::StatusOr<int64_t> JsonInt(const json& value) {
  if (value.is_number_unsigned()) {
    auto number = value.get<uint64_t>();
    if (number > uint64_t{std::numeric_limits<int64_t>::max()})
      return absl::InvalidArgumentError(absl::StrCat(number, " is too large"));
    return static_cast<int64_t>(number);
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  return absl::InvalidArgumentError("not an integer");
}

const json* JsonFields::Find(const char* key) const {
  auto it = object_.find(key);
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

absl::StatusOr<int64_t> JsonFields::Int(const char* key) const {
  const json* value = Find(key);
  if (value == nullptr) return Missing(key);
  auto number = JsonInt(*value);
  return number.ok() ? number : Wrong(key, "integer of 64 bits");
}

absl::StatusOr<double> JsonFields::Float(const char* key) const {
  const json* value = Find(key);
  if (value == nullptr) return Missing(key);
  if (!value->is_number()) return Wrong(key, "number");
  return value->get<double>();
}

absl::StatusOr<std::string> JsonFields::String(const char* key) const {
  const json* value = Find(key);
  if (value == nullptr) return Missing(key);
  if (!value->is_string()) return Wrong(key, "string");
  return value->get<std::string>();
}

absl::StatusOr<bool> JsonFields::BoolOr(const char* key, bool absent) const {
  const json* value = Find(key);
  if (value == nullptr) return absent;
  if (!value->is_boolean()) return Wrong(key, "boolean");
  return value->get<bool>();
}

absl::StatusOr<int64_t> JsonFields::IntOr(const char* key, int64_t absent) const {
  return Or<int64_t>(*this, key, absent, [&] { return Int(key); });
}

absl::StatusOr<double> JsonFields::FloatOr(const char* key, double absent) const {
  return Or<double>(*this, key, absent, [&] { return Float(key); });
}

absl::StatusOr<std::string> JsonFields::StringOr(const char* key, std::string_view absent) const {
  return Or<std::string>(*this, key, std::string(absent), [&] { return String(key); });
}

}  // namespace lynx
