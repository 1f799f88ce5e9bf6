// map, select, reject, selectattr, rejectattr: filters that apply others.
#include "model/template/access.h"
#include "model/template/error.h"
#include "model/template/filters.h"
#include "model/template/predicates.h"
#include "runtime/status.h"

namespace lynx::jinja {
namespace {

using Result = absl::StatusOr<Value>;

// The arguments behind the first `count` positional ones.
Args Rest(const Args& args, size_t count) {
  Args rest;
  rest.positional.assign(args.positional.begin() + static_cast<ptrdiff_t>(count),
                         args.positional.end());
  rest.keyword = args.keyword;
  return rest;
}

Result MapAttribute(Context& ctx, const Value& in, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("map", args, {"attribute", "default"}, 1));
  ASSIGN_OR_RETURN(std::vector<Value> items, Items(ctx, in));
  for (Value& v : items) {
    ASSIGN_OR_RETURN(v, ByPath(ctx, v, a[0]));
    if (v.IsUndefined() && a[1] != nullptr) v = *a[1];
  }
  return Value::Iter(std::move(items));
}

Result Map(Context& ctx, const Value& in, const Args& args) {
  if (args.positional.empty()) return MapAttribute(ctx, in, args);
  const Text* name = args.positional[0].AsText();
  const FilterSpec* filter = name == nullptr ? nullptr : FindFilter(name->str());
  if (filter == nullptr) return Error("map() got an unknown filter");
  const Args rest = Rest(args, 1);
  ASSIGN_OR_RETURN(std::vector<Value> items, Items(ctx, in));
  for (Value& v : items) {
    RETURN_IF_ERROR(ctx.budget.Steps());
    ASSIGN_OR_RETURN(v, filter->fn(ctx, v, rest));
  }
  return Value::Iter(std::move(items));
}

template <bool kKeep, bool kAttribute>
Result Select(Context& ctx, const Value& in, const Args& args) {
  if (kAttribute && args.positional.empty()) return Error("selectattr() needs an attribute");
  const Value* attribute = kAttribute ? &args.positional[0] : nullptr;
  const size_t named = kAttribute ? 1 : 0;
  const TestSpec* test = nullptr;
  Args rest;
  if (args.positional.size() > named) {
    const Text* name = args.positional[named].AsText();
    test = name == nullptr ? nullptr : FindTest(name->str());
    if (test == nullptr) return Error("select() got an unknown test");
    rest = Rest(args, named + 1);
  }
  ASSIGN_OR_RETURN(const std::vector<Value> items, Items(ctx, in));
  std::vector<Value> out;
  for (const Value& v : items) {
    RETURN_IF_ERROR(ctx.budget.Steps());
    ASSIGN_OR_RETURN(const Value subject, ByPath(ctx, v, attribute));
    bool holds = subject.Truth();
    if (test != nullptr) {
      ASSIGN_OR_RETURN(holds, test->fn(ctx, subject, rest));
    }
    if (holds == kKeep) out.push_back(v);
  }
  return Value::Iter(std::move(out));
}

constexpr FilterSpec kFilters[] = {
    {"map", Map},
    {"select", Select<true, false>},
    {"reject", Select<false, false>},
    {"selectattr", Select<true, true>},
    {"rejectattr", Select<false, true>},
};

}  // namespace

const FilterSpec* FindSelectFilter(std::string_view name) {
  for (const FilterSpec& f : kFilters) {
    if (f.name == name) return &f;
  }
  return nullptr;
}

const FilterSpec* FindFilter(std::string_view name) {
  if (const FilterSpec* f = FindTextFilter(name)) return f;
  if (const FilterSpec* f = FindSequenceFilter(name)) return f;
  return FindSelectFilter(name);
}

}  // namespace lynx::jinja
