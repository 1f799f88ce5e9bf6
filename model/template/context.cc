#include "model/template/context.h"

#include <algorithm>

#include "model/template/error.h"
#include "runtime/status.h"

namespace lynx::jinja {

absl::StatusOr<std::vector<const Value*>> BindArgs(std::string_view callee, const Args& args,
                                                   std::initializer_list<std::string_view> names,
                                                   size_t required) {
  std::vector<const Value*> bound(names.size(), nullptr);
  if (args.positional.size() > names.size()) return Error(callee, "() got too many arguments");
  for (size_t i = 0; i < args.positional.size(); ++i) bound[i] = &args.positional[i];
  for (const auto& [name, value] : args.keyword) {
    const auto it = std::find(names.begin(), names.end(), name);
    if (it == names.end()) return Error(callee, "() got an unexpected argument '", name, "'");
    const size_t i = static_cast<size_t>(it - names.begin());
    if (bound[i] != nullptr) return Error(callee, "() got '", name, "' twice");
    bound[i] = &value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (bound[i] == nullptr) return Error(callee, "() misses an argument");
  }
  return bound;
}

absl::StatusOr<int64_t> IntArg(const Value* v, int64_t otherwise) {
  if (v == nullptr) return otherwise;
  int64_t i;
  if (!v->ToInt(&i)) return Error("expected an integer, not ", v->TypeName());
  return i;
}

absl::StatusOr<const Text*> TextArg(const Value* v) {
  if (v == nullptr || v->IsNone()) return nullptr;
  if (v->AsText() == nullptr) return Error("expected a string, not ", v->TypeName());
  return v->AsText();
}

absl::StatusOr<Value> MakeText(Context& ctx, Text text) {
  RETURN_IF_ERROR(ctx.budget.Bytes(text.size()));
  return Value(std::move(text));
}

}  // namespace lynx::jinja
