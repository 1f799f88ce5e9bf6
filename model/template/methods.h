// Methods of strings, lists and dicts.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "model/template/context.h"

namespace lynx::jinja {

enum class MethodOf { kString, kList, kDict };

struct Method {
  MethodOf type;
  std::string_view name;
  // Null: the method exists in Python, but not here or not in the sandbox; calling it is an error.
  absl::StatusOr<Value> (*fn)(Context& ctx, const Value& self, const Args& args);
};

// Null: values of this type have no such method.
const Method* FindMethod(const Value& self, std::string_view name);
// Whether some type has the method here, or has one that the sandbox refuses when it is called.
bool IsMethodName(std::string_view name);
absl::StatusOr<Value> CallMethod(Context& ctx, const BoundMethod& bound, const Args& args);

// The tables, by type.
const Method* FindStringMethod(std::string_view name);
const Method* FindContainerMethod(MethodOf type, std::string_view name);

}  // namespace lynx::jinja
