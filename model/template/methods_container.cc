#include <algorithm>

#include "model/template/access.h"
#include "model/template/error.h"
#include "model/template/methods.h"
#include "model/template/operators.h"
#include "runtime/status.h"

namespace lynx::jinja {
namespace {

using Result = absl::StatusOr<Value>;

Result ListCount(Context& ctx, const Value& self, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("count", args, {""}, 1));
  int64_t count = 0;
  for (const Value& v : self.AsSequence()->items) {
    ASSIGN_OR_RETURN(const bool same, Equal(ctx, v, *a[0]));
    count += same ? 1 : 0;
  }
  return Value(count);
}

Result ListIndex(Context& ctx, const Value& self, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("index", args, {""}, 1));
  const auto& items = self.AsSequence()->items;
  for (size_t i = 0; i < items.size(); ++i) {
    ASSIGN_OR_RETURN(const bool same, Equal(ctx, items[i], *a[0]));
    if (same) return Value(static_cast<int64_t>(i));
  }
  return Error("the item is not in the list");
}

// Values are immutable, so a copy is the value itself.
Result Copy(Context&, const Value& self, const Args& args) {
  RETURN_IF_ERROR(BindArgs("copy", args, {}).status());
  return self;
}

Result DictGet(Context&, const Value& self, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("get", args, {"", ""}, 1));
  ASSIGN_OR_RETURN(const Value* found, self.AsDict()->Find(*a[0]));
  return found != nullptr ? *found : a[1] != nullptr ? *a[1] : Value();
}

template <SequenceKind kKind>
Result DictView(Context& ctx, const Value& self, const Args& args) {
  RETURN_IF_ERROR(BindArgs("items", args, {}).status());
  const auto& entries = self.AsDict()->entries();
  RETURN_IF_ERROR(ctx.budget.Bytes(entries.size() * sizeof(Value) * 4));
  std::vector<Value> items;
  for (const Dict::Entry& e : entries) {
    if (kKind == SequenceKind::kKeys) items.push_back(e.key);
    if (kKind == SequenceKind::kValues) items.push_back(e.value);
    if (kKind == SequenceKind::kItems) {
      ASSIGN_OR_RETURN(Value pair, Value::Seq(SequenceKind::kTuple, {e.key, e.value}));
      items.push_back(std::move(pair));
    }
  }
  return Value::Seq(kKind, std::move(items));
}

// Methods that would change a value: the sandbox refuses them when they are called.
constexpr Method kMethods[] = {
    {MethodOf::kList, "count", ListCount},
    {MethodOf::kList, "index", ListIndex},
    {MethodOf::kList, "copy", Copy},
    {MethodOf::kList, "append", nullptr},
    {MethodOf::kList, "clear", nullptr},
    {MethodOf::kList, "extend", nullptr},
    {MethodOf::kList, "insert", nullptr},
    {MethodOf::kList, "pop", nullptr},
    {MethodOf::kList, "remove", nullptr},
    {MethodOf::kList, "reverse", nullptr},
    {MethodOf::kList, "sort", nullptr},
    {MethodOf::kDict, "get", DictGet},
    {MethodOf::kDict, "copy", Copy},
    {MethodOf::kDict, "items", DictView<SequenceKind::kItems>},
    {MethodOf::kDict, "keys", DictView<SequenceKind::kKeys>},
    {MethodOf::kDict, "values", DictView<SequenceKind::kValues>},
    {MethodOf::kDict, "clear", nullptr},
    {MethodOf::kDict, "fromkeys", nullptr},
    {MethodOf::kDict, "pop", nullptr},
    {MethodOf::kDict, "popitem", nullptr},
    {MethodOf::kDict, "setdefault", nullptr},
    {MethodOf::kDict, "update", nullptr},
};

}  // namespace

const Method* FindContainerMethod(MethodOf type, std::string_view name) {
  for (const Method& m : kMethods) {
    if (m.type == type && m.name == name) return &m;
  }
  return nullptr;
}

const Method* FindMethod(const Value& self, std::string_view name) {
  if (self.AsText() != nullptr) return FindStringMethod(name);
  if (self.AsDict() != nullptr) return FindContainerMethod(MethodOf::kDict, name);
  const Sequence* s = self.AsSequence();
  if (s == nullptr || s->kind > SequenceKind::kRange) return nullptr;
  const Method* m = FindContainerMethod(MethodOf::kList, name);
  const bool constant = m != nullptr && (name == "count" || name == "index");
  return s->kind == SequenceKind::kList || constant ? m : nullptr;
}

bool IsMethodName(std::string_view name) {
  const Method* of_string = FindStringMethod(name);
  return (of_string != nullptr && of_string->fn != nullptr) ||
         FindContainerMethod(MethodOf::kList, name) || FindContainerMethod(MethodOf::kDict, name);
}

absl::StatusOr<Value> CallMethod(Context& ctx, const BoundMethod& bound, const Args& args) {
  if (bound.method->fn == nullptr) {
    return Error("the method '", bound.method->name, "' of ", bound.self.TypeName(),
                 " may not be called");
  }
  return bound.method->fn(ctx, bound.self, args);
}

}  // namespace lynx::jinja
