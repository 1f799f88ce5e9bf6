#include "model/template/value.h"

#include <algorithm>
#include <cmath>

#include "model/template/budget.h"
#include "model/template/error.h"
#include "model/template/number.h"
#include "runtime/status.h"

namespace lynx::jinja {
namespace {

absl::StatusOr<int> DepthOver(const std::vector<Value>& items) {
  int depth = 0;
  for (const Value& v : items) depth = std::max(depth, v.Depth());
  if (depth >= kValueDepthMax) return Error("a value is nested too deeply");
  return depth + 1;
}

const char* SequenceTypeName(SequenceKind kind) {
  switch (kind) {
    case SequenceKind::kList:
      return "list";
    case SequenceKind::kTuple:
      return "tuple";
    case SequenceKind::kRange:
      return "range";
    case SequenceKind::kItems:
      return "dict_items";
    case SequenceKind::kKeys:
      return "dict_keys";
    case SequenceKind::kValues:
      return "dict_values";
  }
  return "list";
}

}  // namespace

Value Value::Undef(std::string why) {
  Value v;
  v.v_ = Undefined{std::make_shared<const std::string>(std::move(why))};
  return v;
}

absl::StatusOr<Value> Value::Seq(SequenceKind kind, std::vector<Value> items) {
  ASSIGN_OR_RETURN(const int depth, DepthOver(items));
  return Value(std::make_shared<const Sequence>(Sequence{kind, std::move(items), depth}));
}

absl::StatusOr<Value> Value::Iter(std::vector<Value> items) {
  ASSIGN_OR_RETURN(const int depth, DepthOver(items));
  return Value(std::make_shared<Iterator>(Iterator{std::move(items), depth}));
}

absl::StatusOr<Value> Value::Bound(Value self, const Method* method) {
  const int depth = self.Depth() + 1;
  if (depth > kValueDepthMax) return Error("a value is nested too deeply");
  return Value(std::make_shared<const BoundMethod>(BoundMethod{std::move(self), method, depth}));
}

bool Value::ToInt(int64_t* out) const {
  if (const bool* b = AsBool())
    *out = *b ? 1 : 0;
  else if (const int64_t* i = AsInt())
    *out = *i;
  else
    return false;
  return true;
}

bool Value::ToDouble(double* out) const {
  int64_t i;
  if (const double* d = AsFloat())
    *out = *d;
  else if (ToInt(&i))
    *out = static_cast<double>(i);
  else
    return false;
  return true;
}

bool Value::Truth() const {
  if (IsUndefined() || IsNone()) return false;
  double number;
  if (ToDouble(&number)) return number != 0;
  if (const Text* t = AsText()) return !t->empty();
  if (const Sequence* s = AsSequence()) return !s->items.empty();
  if (const Dict* d = AsDict()) return !d->entries().empty();
  return true;
}

std::string Value::TypeName() const {
  if (IsUndefined()) return "Undefined";
  if (IsNone()) return "NoneType";
  if (AsBool()) return "bool";
  if (AsInt()) return "int";
  if (AsFloat()) return "float";
  if (AsText()) return "str";
  if (const Sequence* s = AsSequence()) return SequenceTypeName(s->kind);
  if (AsDict()) return "dict";
  if (AsIterator()) return "generator";
  if (AsBound()) return "method";
  switch (AsObject()->kind) {
    case Object::Kind::kNamespace:
      return "Namespace";
    case Object::Kind::kMacro:
      return "Macro";
    case Object::Kind::kLoop:
      return "LoopContext";
    case Object::Kind::kCycler:
      return "Cycler";
    case Object::Kind::kJoiner:
      return "Joiner";
    case Object::Kind::kFunction:
      return "function";
  }
  return "object";
}

int Value::Depth() const {
  if (const Sequence* s = AsSequence()) return s->depth;
  if (const Dict* d = AsDict()) return d->depth();
  if (const Iterator* i = AsIterator()) return i->depth;
  if (const BoundMethod* b = AsBound()) return b->depth;
  return 0;
}

absl::StatusOr<Value> Dict::Make(std::vector<Entry> entries) {
  auto dict = std::make_shared<Dict>();
  int depth = 0;
  for (Entry& e : entries) {
    ASSIGN_OR_RETURN(std::string key, CanonicalKey(e.key));
    depth = std::max({depth, e.key.Depth(), e.value.Depth()});
    auto [it, added] = dict->index_.try_emplace(std::move(key), dict->entries_.size());
    if (added)
      dict->entries_.push_back(std::move(e));
    else
      dict->entries_[it->second].value = std::move(e.value);
  }
  if (depth >= kValueDepthMax) return Error("a value is nested too deeply");
  dict->depth_ = depth + 1;
  return Value(std::shared_ptr<const Dict>(std::move(dict)));
}

const Value* Dict::Lookup(const std::string& canonical) const {
  auto it = index_.find(canonical);
  return it == index_.end() ? nullptr : &entries_[it->second].value;
}

const Value* Dict::Find(std::string_view key) const { return Lookup(Cat('s', key)); }

absl::StatusOr<const Value*> Dict::Find(const Value& key) const {
  ASSIGN_OR_RETURN(std::string canonical, CanonicalKey(key));
  return Lookup(canonical);
}

absl::StatusOr<std::string> CanonicalKey(const Value& v) {
  if (const Text* t = v.AsText()) return Cat('s', t->str());
  if (v.IsNone()) return std::string("0");
  int64_t i;
  if (v.ToInt(&i)) return Cat('n', i);
  if (const double* d = v.AsFloat()) {
    const bool whole = std::floor(*d) == *d && std::fabs(*d) < 9e18;
    return whole ? Cat('n', static_cast<int64_t>(*d)) : Cat('n', FormatFloat(*d));
  }
  const Sequence* s = v.AsSequence();
  if (s != nullptr && s->kind == SequenceKind::kTuple) {
    std::string key = "t";
    for (const Value& item : s->items) {
      ASSIGN_OR_RETURN(std::string part, CanonicalKey(item));
      key += Cat(part.size(), ':', part);
    }
    return key;
  }
  if (v.AsObject() != nullptr) return Cat('o', reinterpret_cast<unsigned long>(v.AsObject()));
  return Error("unhashable type: '", v.TypeName(), "'");
}

}  // namespace lynx::jinja
