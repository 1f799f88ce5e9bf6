// Global functions: range, dict, namespace, cycler, joiner, raise_exception, strftime_now.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "model/template/context.h"

namespace lynx::jinja {

struct FunctionObject : Object {
  using Fn = absl::StatusOr<Value> (*)(Context& ctx, const Args& args);
  FunctionObject(std::string_view n, Fn f) : Object(Kind::kFunction), name(n), fn(f) {}
  std::string_view name;
  Fn fn;
};

// Null: there is no such function.
FunctionObject* FindFunction(std::string_view name);
inline bool IsGlobalName(std::string_view name) { return FindFunction(name) != nullptr; }

absl::StatusOr<Value> CallCycler(CyclerObject* cycler, std::string_view method);
absl::StatusOr<Value> CallJoiner(JoinerObject* joiner);

// strftime in the C locale. Errors: a directive that is not portable.
absl::StatusOr<std::string> FormatTime(std::string_view format, const std::tm& time);

}  // namespace lynx::jinja
