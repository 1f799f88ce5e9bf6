#include "model/tokenizer_json_fields.h"

#include "model/quoted.h"
#include "model/tokenizer_spec.h"

namespace lynx {
namespace {

absl::Status WrongType(std::string_view name, std::string_view type) {
  return absl::InvalidArgumentError(
      absl::StrCat("field ", Quoted(name), " is not ", std::string(type)));
}

}  // namespace

const nlohmann::json* FindField(const nlohmann::json& object, std::string_view name) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(std::string(name));
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

absl::StatusOr<const nlohmann::json*> NeedField(const nlohmann::json& object,
                                                std::string_view name) {
  const nlohmann::json* field = FindField(object, name);
  if (field == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("field ", Quoted(name), " is missing"));
  }
  return field;
}

absl::StatusOr<bool> BoolField(const nlohmann::json& object, std::string_view name, bool absent) {
  const nlohmann::json* field = FindField(object, name);
  if (field == nullptr) return absent;
  if (!field->is_boolean()) return WrongType(name, "a boolean");
  return field->get<bool>();
}

absl::StatusOr<std::string> StringField(const nlohmann::json& object, std::string_view name,
                                        std::string_view absent) {
  const nlohmann::json* field = FindField(object, name);
  if (field == nullptr) return std::string(absent);
  if (!field->is_string()) return WrongType(name, "a string");
  return field->get<std::string>();
}

absl::StatusOr<int32_t> TokenIdOf(const nlohmann::json& value) {
  if (value.is_number_unsigned() && value.get<uint64_t>() <= static_cast<uint64_t>(kMaxTokenId)) {
    return static_cast<int32_t>(value.get<uint64_t>());
  }
  return absl::InvalidArgumentError(
      absl::StrCat("a token id is not an integer from 0 to ", kMaxTokenId));
}

absl::Status Unsupported(std::string_view where, std::string_view what) {
  return absl::UnimplementedError(
      absl::StrCat(std::string(where), " ", Quoted(what), " is not supported"));
}

}  // namespace lynx
