#include "config/field_value.h"

#include <cmath>
#include <limits>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace lynx {
namespace {

template <typename... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <typename... F>
Overloaded(F...) -> Overloaded<F...>;

absl::string_view Absl(std::string_view s) { return {s.data(), s.size()}; }

std::string Shortened(const std::string& text) {
  constexpr size_t kLongest = 64;
  return text.size() <= kLongest ? text : text.substr(0, kLongest) + "...";
}

absl::Status Unexpected(const Field& field, const std::string& got) {
  return absl::InvalidArgumentError(
      absl::StrCat("must be ", Expectation(field), ", is ", Shortened(got)));
}

std::string Show(const nlohmann::json& value) {
  return value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

// Integers that fit; 3.0 is none.
bool ToInt(const nlohmann::json& value, int64_t* out) {
  if (!value.is_number_integer()) return false;
  if (value.is_number_unsigned() &&
      value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return false;
  }
  *out = value.get<int64_t>();
  return true;
}

bool ToStrings(const nlohmann::json& value, std::vector<std::string>* out) {
  if (!value.is_array()) return false;
  for (const auto& element : value) {
    if (!element.is_string()) return false;
    out->push_back(element.get<std::string>());
  }
  return true;
}

// Sets the field if its new value passes CheckValue, else leaves the old one.
template <typename T>
absl::Status SetChecked(const Field& field, T* target, T value) {
  std::swap(*target, value);
  absl::Status status = CheckValue(field);
  if (!status.ok()) std::swap(*target, value);
  return status;
}

}  // namespace

std::string Expectation(const Field& field) {
  auto range = [&](const char* what) {
    return absl::StrCat(what, " from ", field.min, " to ",
                        // No exponents: 16777216, not 1.67772e+07.
                        static_cast<int64_t>(field.max));
  };
  return std::visit(Overloaded{
                        [](bool*) { return std::string("true or false"); },
                        [&](int64_t*) { return range("an integer"); },
                        [&](double*) { return range("a number"); },
                        [&](std::string*) {
                          return field.choices.empty()
                                     ? std::string("a string")
                                     : "one of " + absl::StrJoin(field.choices, ", ");
                        },
                        [](std::vector<std::string>*) { return std::string("a list of strings"); },
                    },
                    field.value);
}

absl::Status CheckValue(const Field& field) {
  auto in_range = [&](double value) { return value >= field.min && value <= field.max; };
  const bool ok = std::visit(Overloaded{
                                 [](bool*) { return true; },
                                 [&](int64_t* v) { return in_range(static_cast<double>(*v)); },
                                 [&](double* v) { return in_range(*v); },
                                 [&](std::string* v) {
                                   return field.choices.empty() ||
                                          std::find(field.choices.begin(), field.choices.end(),
                                                    *v) != field.choices.end();
                                 },
                                 [](std::vector<std::string>*) { return true; },
                             },
                             field.value);
  return ok ? absl::OkStatus() : Unexpected(field, Show(ToJson(field)));
}

absl::Status SetFromJson(const Field& field, const nlohmann::json& value) {
  const absl::Status wrong_type = Unexpected(field, Show(value));
  return std::visit(
      Overloaded{
          [&](bool* target) {
            return value.is_boolean() ? SetChecked(field, target, value.get<bool>()) : wrong_type;
          },
          [&](int64_t* target) {
            int64_t number;
            return ToInt(value, &number) ? SetChecked(field, target, number) : wrong_type;
          },
          [&](double* target) {
            return value.is_number() ? SetChecked(field, target, value.get<double>()) : wrong_type;
          },
          [&](std::string* target) {
            return value.is_string() ? SetChecked(field, target, value.get<std::string>())
                                     : wrong_type;
          },
          [&](std::vector<std::string>* target) {
            std::vector<std::string> list;
            return ToStrings(value, &list) ? SetChecked(field, target, list) : wrong_type;
          },
      },
      field.value);
}

absl::Status SetFromText(const Field& field, std::string_view text) {
  const absl::Status wrong_type = Unexpected(field, Show(std::string(text)));
  return std::visit(
      Overloaded{
          [&](bool* target) {
            if (text != "true" && text != "false") return wrong_type;
            return SetChecked(field, target, text == "true");
          },
          [&](int64_t* target) {
            int64_t number;
            return absl::SimpleAtoi(Absl(text), &number) ? SetChecked(field, target, number)
                                                         : wrong_type;
          },
          [&](double* target) {
            double number;
            return absl::SimpleAtod(Absl(text), &number) ? SetChecked(field, target, number)
                                                         : wrong_type;
          },
          [&](std::string* target) { return SetChecked(field, target, std::string(text)); },
          [&](std::vector<std::string>* target) {
            std::vector<std::string> list;
            if (!text.empty()) list = absl::StrSplit(Absl(text), ',');
            return SetChecked(field, target, list);
          },
      },
      field.value);
}

nlohmann::ordered_json ToJson(const Field& field) {
  return std::visit([](auto* value) { return nlohmann::ordered_json(*value); }, field.value);
}

}  // namespace lynx
