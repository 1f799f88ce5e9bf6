// Filters on lists and dicts.
#include <algorithm>

#include "model/template/access.h"
#include "model/template/error.h"
#include "model/template/filters.h"
#include "model/template/format.h"
#include "model/template/number.h"
#include "model/template/operators.h"
#include "model/template/text_ops.h"
#include "runtime/status.h"

namespace lynx::jinja {
namespace {

using Result = absl::StatusOr<Value>;

// What sort, unique, min and max compare: strings without case unless it is asked for.
Result SortKey(Context& ctx, const Value& v, const Value* attribute, bool fold_case) {
  ASSIGN_OR_RETURN(Value key, ByPath(ctx, v, attribute));
  if (!fold_case || key.AsText() == nullptr) return key;
  return MakeText(ctx, MapCase(*key.AsText(), CaseMap::kLower));
}

absl::StatusOr<std::vector<std::pair<Value, Value>>> Keyed(Context& ctx, const Value& in,
                                                           const Value* attribute, bool fold_case) {
  ASSIGN_OR_RETURN(std::vector<Value> items, Items(ctx, in));
  std::vector<std::pair<Value, Value>> keyed;
  for (Value& v : items) {
    ASSIGN_OR_RETURN(Value key, SortKey(ctx, v, attribute, fold_case));
    keyed.emplace_back(std::move(key), std::move(v));
  }
  return keyed;
}

bool IsTrue(const Value* v) { return v != nullptr && v->Truth(); }

Result Default(Context&, const Value& in, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("default", args, {"default_value", "boolean"}));
  if (!in.IsUndefined() && (!IsTrue(a[1]) || in.Truth())) return in;
  return a[0] != nullptr ? *a[0] : Value(Text());
}

Result Attr(Context&, const Value& in, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("attr", args, {"name"}, 1));
  if (a[0]->AsText() == nullptr) return Error("attr() needs a string");
  // Only true attributes: an item of a dict is none.
  if (in.AsDict() != nullptr && in.AsDict()->Find(a[0]->AsText()->str()) != nullptr) {
    return Value::Undef(Cat("'dict object' has no attribute '", a[0]->AsText()->str(), "'"));
  }
  return GetAttribute(in, a[0]->AsText()->str());
}

Result First(Context& ctx, const Value& in, const Args& args) {
  RETURN_IF_ERROR(BindArgs("first", args, {}).status());
  ASSIGN_OR_RETURN(const std::vector<Value> items, Items(ctx, in));
  return items.empty() ? Value::Undef("No first item, sequence was empty.") : items.front();
}

Result Last(Context& ctx, const Value& in, const Args& args) {
  RETURN_IF_ERROR(BindArgs("last", args, {}).status());
  if (in.AsIterator() != nullptr) return Error("'generator' object is not reversible");
  ASSIGN_OR_RETURN(const std::vector<Value> items, Items(ctx, in));
  return items.empty() ? Value::Undef("No last item, sequence was empty.") : items.back();
}

Result LengthFilter(Context& ctx, const Value& in, const Args& args) {
  RETURN_IF_ERROR(BindArgs("length", args, {}).status());
  if (in.AsText() != nullptr) RETURN_IF_ERROR(ctx.budget.Bytes(in.AsText()->size()));
  ASSIGN_OR_RETURN(const int64_t n, Length(in));
  return Value(n);
}

Result ListFilter(Context& ctx, const Value& in, const Args& args) {
  RETURN_IF_ERROR(BindArgs("list", args, {}).status());
  ASSIGN_OR_RETURN(std::vector<Value> items, Items(ctx, in));
  return Value::List(std::move(items));
}

Result Join(Context& ctx, const Value& in, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("join", args, {"d", "attribute"}));
  Text separator;
  if (a[0] != nullptr) {
    ASSIGN_OR_RETURN(separator, ToStr(*a[0], ctx.budget));
  }
  ASSIGN_OR_RETURN(const std::vector<Value> items, Items(ctx, in));
  Text out;
  for (size_t i = 0; i < items.size(); ++i) {
    ASSIGN_OR_RETURN(const Value v, ByPath(ctx, items[i], a[1]));
    ASSIGN_OR_RETURN(const Text t, ToStr(v, ctx.budget));
    RETURN_IF_ERROR(ctx.budget.Bytes(t.size() + separator.size()));
    if (i > 0) out.Append(separator);
    out.Append(t);
  }
  return Value(std::move(out));
}

Result Reverse(Context& ctx, const Value& in, const Args& args) {
  RETURN_IF_ERROR(BindArgs("reverse", args, {}).status());
  ASSIGN_OR_RETURN(std::vector<Value> items, Items(ctx, in));
  std::reverse(items.begin(), items.end());
  if (in.AsText() == nullptr) return Value::Iter(std::move(items));
  Text out;
  for (const Value& v : items) out.Append(*v.AsText());
  return MakeText(ctx, std::move(out));
}

Result ItemsFilter(Context& ctx, const Value& in, const Args& args) {
  RETURN_IF_ERROR(BindArgs("items", args, {}).status());
  if (in.IsUndefined()) return Value::Iter({});
  if (in.AsDict() == nullptr) return Error("Can only get item pairs from a mapping.");
  std::vector<Value> pairs;
  for (const Dict::Entry& e : in.AsDict()->entries()) {
    RETURN_IF_ERROR(ctx.budget.Bytes(sizeof(Value) * 4));
    ASSIGN_OR_RETURN(Value pair, Value::Seq(SequenceKind::kTuple, {e.key, e.value}));
    pairs.push_back(std::move(pair));
  }
  return Value::Iter(std::move(pairs));
}

Result DictSort(Context& ctx, const Value& in, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("dictsort", args, {"case_sensitive", "by", "reverse"}));
  ASSIGN_OR_RETURN(const Text* by, TextArg(a[1]));
  const std::string what = by != nullptr ? by->str() : "key";
  if (in.AsDict() == nullptr || (what != "key" && what != "value")) {
    return Error("dictsort() needs a dict, and 'key' or 'value'");
  }
  std::vector<std::pair<Value, Value>> keyed;
  for (const Dict::Entry& e : in.AsDict()->entries()) {
    RETURN_IF_ERROR(ctx.budget.Bytes(sizeof(Value) * 4));
    ASSIGN_OR_RETURN(Value key,
                     SortKey(ctx, what == "key" ? e.key : e.value, nullptr, !IsTrue(a[0])));
    ASSIGN_OR_RETURN(Value pair, Value::Seq(SequenceKind::kTuple, {e.key, e.value}));
    keyed.emplace_back(std::move(key), std::move(pair));
  }
  RETURN_IF_ERROR(StableSort(ctx, &keyed, IsTrue(a[2])));
  std::vector<Value> out;
  for (auto& [key, v] : keyed) out.push_back(std::move(v));
  return Value::List(std::move(out));
}

Result Sort(Context& ctx, const Value& in, const Args& args) {
  ASSIGN_OR_RETURN(const auto a,
                   BindArgs("sort", args, {"reverse", "case_sensitive", "attribute"}));
  if (a[2] != nullptr && a[2]->AsText() && a[2]->AsText()->str().find(',') != std::string::npos) {
    return Error("sort() by several attributes is not supported");
  }
  ASSIGN_OR_RETURN(auto keyed, Keyed(ctx, in, a[2], !IsTrue(a[1])));
  RETURN_IF_ERROR(StableSort(ctx, &keyed, IsTrue(a[0])));
  std::vector<Value> out;
  for (auto& [key, v] : keyed) out.push_back(std::move(v));
  return Value::List(std::move(out));
}

Result Unique(Context& ctx, const Value& in, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("unique", args, {"case_sensitive", "attribute"}));
  ASSIGN_OR_RETURN(auto keyed, Keyed(ctx, in, a[1], !IsTrue(a[0])));
  absl::flat_hash_map<std::string, bool> seen;
  std::vector<Value> out;
  for (auto& [key, v] : keyed) {
    ASSIGN_OR_RETURN(std::string canonical, CanonicalKey(key));
    if (seen.try_emplace(std::move(canonical), true).second) out.push_back(std::move(v));
  }
  return Value::Iter(std::move(out));
}

template <bool kMax>
Result Extreme(Context& ctx, const Value& in, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("min", args, {"case_sensitive", "attribute"}));
  ASSIGN_OR_RETURN(auto keyed, Keyed(ctx, in, a[1], !IsTrue(a[0])));
  if (keyed.empty()) return Value::Undef("No aggregated item, sequence was empty.");
  size_t best = 0;
  for (size_t i = 1; i < keyed.size(); ++i) {
    const Value& x = keyed[kMax ? best : i].first;
    const Value& y = keyed[kMax ? i : best].first;
    ASSIGN_OR_RETURN(const bool better, Less(ctx, x, y));
    if (better) best = i;
  }
  return keyed[best].second;
}

Result Sum(Context& ctx, const Value& in, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("sum", args, {"attribute", "start"}));
  ASSIGN_OR_RETURN(const std::vector<Value> items, Items(ctx, in));
  Value total = a[1] != nullptr ? *a[1] : Value(int64_t{0});
  if (total.AsText() != nullptr) return Error("sum() can't sum strings");
  for (const Value& item : items) {
    ASSIGN_OR_RETURN(const Value v, ByPath(ctx, item, a[0]));
    ASSIGN_OR_RETURN(total, Arithmetic(ctx, BinaryOp::kAdd, total, v));
  }
  return total;
}

Result Batch(Context& ctx, const Value& in, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("batch", args, {"linecount", "fill_with"}, 1));
  ASSIGN_OR_RETURN(const int64_t size, IntArg(a[0], 0));
  if (size <= 0) return Error("batch() needs a positive size");
  ASSIGN_OR_RETURN(const std::vector<Value> items, Items(ctx, in));
  std::vector<Value> batches, batch;
  const auto flush = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(Value v, Value::List(std::exchange(batch, {})));
    batches.push_back(std::move(v));
    return absl::OkStatus();
  };
  for (const Value& v : items) {
    if (static_cast<int64_t>(batch.size()) == size) RETURN_IF_ERROR(flush());
    batch.push_back(v);
  }
  if (!batch.empty()) {
    if (a[1] != nullptr && !a[1]->IsNone()) {
      RETURN_IF_ERROR(ctx.budget.Bytes(static_cast<size_t>(size) * sizeof(Value)));
      batch.resize(static_cast<size_t>(size), *a[1]);
    }
    RETURN_IF_ERROR(flush());
  }
  return Value::Iter(std::move(batches));
}

Result GroupBy(Context& ctx, const Value& in, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("groupby", args, {"attribute"}, 1));
  ASSIGN_OR_RETURN(auto keyed, Keyed(ctx, in, a[0], true));
  RETURN_IF_ERROR(StableSort(ctx, &keyed, false));
  std::vector<Value> groups;
  for (size_t i = 0; i < keyed.size();) {
    std::vector<Value> group;
    const Value& key = keyed[i].first;
    ASSIGN_OR_RETURN(Value shown, ByPath(ctx, keyed[i].second, a[0]));
    for (; i < keyed.size(); ++i) {
      ASSIGN_OR_RETURN(const bool same, Equal(ctx, key, keyed[i].first));
      if (!same) break;
      group.push_back(keyed[i].second);
    }
    ASSIGN_OR_RETURN(Value list, Value::List(std::move(group)));
    ASSIGN_OR_RETURN(Value pair,
                     Value::Seq(SequenceKind::kTuple, {std::move(shown), std::move(list)}));
    groups.push_back(std::move(pair));
  }
  return Value::List(std::move(groups));
}

constexpr FilterSpec kFilters[] = {
    {"attr", Attr},       {"batch", Batch},       {"count", LengthFilter},
    {"d", Default},       {"default", Default},   {"dictsort", DictSort},
    {"first", First},     {"groupby", GroupBy},   {"items", ItemsFilter},
    {"join", Join},       {"last", Last},         {"length", LengthFilter},
    {"list", ListFilter}, {"max", Extreme<true>}, {"min", Extreme<false>},
    {"reverse", Reverse}, {"sort", Sort},         {"sum", Sum},
    {"unique", Unique},
};

}  // namespace

absl::StatusOr<Value> ByPath(Context& ctx, const Value& v, const Value* attribute) {
  if (attribute == nullptr || attribute->IsNone()) return v;
  const Text* path = attribute->AsText();
  if (path == nullptr) return GetItem(ctx, v, *attribute);
  const Text dot(".");
  ASSIGN_OR_RETURN(const std::vector<Value> parts, Split(ctx, *path, &dot, -1, false));
  Value at = v;
  for (const Value& part : parts) {
    int64_t index;
    const std::string& name = part.AsText()->str();
    const bool digits = !name.empty() && name.find_first_not_of("0123456789") == std::string::npos;
    ASSIGN_OR_RETURN(at,
                     GetItem(ctx, at, digits && ParseInt(name, 10, &index) ? Value(index) : part));
  }
  return at;
}

const FilterSpec* FindSequenceFilter(std::string_view name) {
  for (const FilterSpec& f : kFilters) {
    if (f.name == name) return &f;
  }
  return nullptr;
}

}  // namespace lynx::jinja
