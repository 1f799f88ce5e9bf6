#include "model/template/json_values.h"

#include <limits>

#include "model/template/budget.h"
#include "model/template/error.h"
#include "runtime/status.h"

namespace lynx::jinja {
namespace {

using Json = nlohmann::ordered_json;

absl::StatusOr<Value> Convert(const Json& json, bool from_user, int depth) {
  if (depth > kValueDepthMax) return Error("the JSON data is nested too deeply");
  switch (json.type()) {
    case Json::value_t::null:
      return Value();
    case Json::value_t::boolean:
      return Value(json.get<bool>());
    case Json::value_t::number_integer:
      return Value(json.get<int64_t>());
    case Json::value_t::number_float:
      return Value(json.get<double>());
    case Json::value_t::string:
      return Value(Text(json.get_ref<const std::string&>(), from_user));
    case Json::value_t::number_unsigned: {
      const uint64_t n = json.get<uint64_t>();
      if (n > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        return Error("an integer in the JSON data is beyond 64 bits");
      }
      return Value(static_cast<int64_t>(n));
    }
    case Json::value_t::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const Json& item : json) {
        ASSIGN_OR_RETURN(Value v, Convert(item, from_user, depth + 1));
        items.push_back(std::move(v));
      }
      return Value::List(std::move(items));
    }
    case Json::value_t::object: {
      std::vector<Dict::Entry> entries;
      entries.reserve(json.size());
      for (const auto& [key, item] : json.items()) {
        ASSIGN_OR_RETURN(Value v, Convert(item, from_user, depth + 1));
        entries.push_back({Value(Text(key, from_user)), std::move(v)});
      }
      return Dict::Make(std::move(entries));
    }
    default:
      return Error("the JSON data holds a value that a template cannot use");
  }
}

}  // namespace

absl::StatusOr<Value> FromJson(const Json& json, bool from_user) {
  return Convert(json, from_user, 0);
}

}  // namespace lynx::jinja
