#include "model/template/access.h"

#include <algorithm>

#include "model/template/error.h"
#include "model/template/loop.h"
#include "model/template/methods.h"
#include "model/template/utf8.h"
#include "runtime/status.h"

namespace lynx::jinja {
namespace {

bool CanIndex(const Sequence& s) {
  return s.kind == SequenceKind::kList || s.kind == SequenceKind::kTuple ||
         s.kind == SequenceKind::kRange;
}

Value NoAttribute(const Value& base, std::string_view name) {
  return Value::Undef(Cat("'", base.TypeName(), " object' has no attribute '", name, "'"));
}

// The attribute proper, without items; false: there is none.
absl::StatusOr<bool> FindAttribute(const Value& base, std::string_view name, Value* out) {
  if (const Method* method = FindMethod(base, name)) {
    ASSIGN_OR_RETURN(*out, Value::Bound(base, method));
    return true;
  }
  Object* object = base.AsObject();
  if (object == nullptr) return false;
  if (object->kind == Object::Kind::kNamespace) {
    auto& attributes = static_cast<NamespaceObject*>(object)->attributes;
    auto it = attributes.find(std::string(name));
    if (it == attributes.end()) return false;
    *out = it->second;
    return true;
  }
  if (object->kind == Object::Kind::kLoop) {
    return static_cast<LoopObject*>(object)->Attribute(name, out);
  }
  if (object->kind == Object::Kind::kCycler && name == "current") {
    auto* cycler = static_cast<CyclerObject*>(object);
    *out = cycler->items[cycler->position];
    return true;
  }
  return false;
}

// The index into `size` items; false: out of range.
bool Index(int64_t i, size_t size, size_t* out) {
  const int64_t n = static_cast<int64_t>(size);
  if (i < -n || i >= n) return false;
  *out = static_cast<size_t>(i < 0 ? i + n : i);
  return true;
}

absl::StatusOr<bool> FindItem(Context& ctx, const Value& base, const Value& key, Value* out) {
  if (const Dict* d = base.AsDict()) {
    absl::StatusOr<const Value*> found = d->Find(key);
    if (!found.ok() || *found == nullptr) return false;
    *out = **found;
    return true;
  }
  int64_t i;
  size_t index;
  if (!key.ToInt(&i)) return false;
  if (const Sequence* s = base.AsSequence()) {
    if (!CanIndex(*s) || !Index(i, s->items.size(), &index)) return false;
    *out = s->items[index];
    return true;
  }
  const Text* t = base.AsText();
  if (t == nullptr) return false;
  RETURN_IF_ERROR(ctx.budget.Steps(t->size() / 64));
  const std::vector<size_t> offsets = CodePointOffsets(t->str());
  if (!Index(i, offsets.size() - 1, &index)) return false;
  *out = Value(t->Range(offsets[index], offsets[index + 1]));
  return true;
}

struct SliceRange {
  int64_t start, step, count;
};

absl::StatusOr<bool> SlicePart(const Value* v, int64_t* out) {
  if (v == nullptr || v->IsNone()) return false;
  if (!v->ToInt(out)) return Error("slice indices must be integers or none");
  return true;
}

// Python's PySlice_AdjustIndices.
absl::StatusOr<SliceRange> Adjust(const Value* start_value, const Value* stop_value,
                                  const Value* step_value, int64_t length) {
  int64_t step = 1;
  RETURN_IF_ERROR(SlicePart(step_value, &step).status());
  if (step == 0) return Error("slice step cannot be zero");
  step = std::clamp(step, -INT64_MAX, INT64_MAX);
  int64_t start = step < 0 ? INT64_MAX : 0;
  int64_t stop = step < 0 ? INT64_MIN : INT64_MAX;
  ASSIGN_OR_RETURN(const bool has_start, SlicePart(start_value, &start));
  ASSIGN_OR_RETURN(const bool has_stop, SlicePart(stop_value, &stop));
  const auto adjust = [&](int64_t i, bool given) {
    if (i < 0 && given) i = i < -length ? -1 : i + length;
    if (i < 0) return step < 0 ? int64_t{-1} : int64_t{0};
    return i >= length ? (step < 0 ? length - 1 : length) : i;
  };
  start = adjust(start, has_start);
  stop = adjust(stop, has_stop);
  int64_t count = 0;
  if (step < 0 && stop < start) count = (start - stop - 1) / -step + 1;
  if (step > 0 && start < stop) count = (stop - start - 1) / step + 1;
  return SliceRange{start, step, count};
}

Value SliceText(const Text& t, const std::vector<size_t>& offsets, const SliceRange& r) {
  if (r.count == 0) return Value(Text());
  const auto at = [&](int64_t i) { return offsets[static_cast<size_t>(i)]; };
  if (r.step == 1) return Value(t.Range(at(r.start), at(r.start + r.count)));
  Text out;
  for (int64_t n = 0; n < r.count; ++n) {
    const int64_t i = r.start + n * r.step;
    out.AppendRange(t, at(i), at(i + 1));
  }
  return Value(std::move(out));
}

}  // namespace

absl::StatusOr<Value> GetAttribute(const Value& base, std::string_view name) {
  if (base.IsUndefined()) return Error(base.WhyUndefined());
  Value out;
  ASSIGN_OR_RETURN(const bool found, FindAttribute(base, name, &out));
  if (found) return out;
  if (const Dict* d = base.AsDict()) {
    if (const Value* item = d->Find(name)) return *item;
  }
  return NoAttribute(base, name);
}

absl::StatusOr<Value> GetItem(Context& ctx, const Value& base, const Value& key) {
  if (base.IsUndefined()) return Error(base.WhyUndefined());
  Value out;
  ASSIGN_OR_RETURN(bool found, FindItem(ctx, base, key, &out));
  if (found) return out;
  if (const Text* name = key.AsText()) {
    ASSIGN_OR_RETURN(found, FindAttribute(base, name->str(), &out));
    return found ? out : NoAttribute(base, name->str());
  }
  return Value::Undef(Cat("'", base.TypeName(), " object' has no such element"));
}

absl::StatusOr<Value> GetSlice(Context& ctx, const Value& base, const Value* start,
                               const Value* stop, const Value* step) {
  if (base.IsUndefined()) return Error(base.WhyUndefined());
  if (const Text* t = base.AsText()) {
    RETURN_IF_ERROR(ctx.budget.Bytes(t->size()));
    const std::vector<size_t> offsets = CodePointOffsets(t->str());
    ASSIGN_OR_RETURN(const SliceRange r,
                     Adjust(start, stop, step, static_cast<int64_t>(offsets.size()) - 1));
    return SliceText(*t, offsets, r);
  }
  const Sequence* s = base.AsSequence();
  if (s == nullptr || !CanIndex(*s)) return NoAttribute(base, "slice");
  ASSIGN_OR_RETURN(const SliceRange r,
                   Adjust(start, stop, step, static_cast<int64_t>(s->items.size())));
  RETURN_IF_ERROR(ctx.budget.Bytes(static_cast<size_t>(r.count) * sizeof(Value)));
  std::vector<Value> items;
  for (int64_t n = 0; n < r.count; ++n) {
    items.push_back(s->items[static_cast<size_t>(r.start + n * r.step)]);
  }
  return Value::Seq(s->kind, std::move(items));
}

absl::StatusOr<std::vector<Value>> Items(Context& ctx, const Value& v) {
  std::vector<Value> items;
  if (const Text* t = v.AsText()) {
    RETURN_IF_ERROR(ctx.budget.Bytes(t->size() * sizeof(Value)));
    const std::vector<size_t> offsets = CodePointOffsets(t->str());
    for (size_t i = 0; i + 1 < offsets.size(); ++i) {
      items.emplace_back(t->Range(offsets[i], offsets[i + 1]));
    }
  } else if (const Sequence* s = v.AsSequence()) {
    RETURN_IF_ERROR(ctx.budget.Bytes(s->items.size() * sizeof(Value)));
    items = s->items;
  } else if (const Dict* d = v.AsDict()) {
    RETURN_IF_ERROR(ctx.budget.Bytes(d->entries().size() * sizeof(Value)));
    for (const Dict::Entry& e : d->entries()) items.push_back(e.key);
  } else if (Iterator* it = v.AsIterator()) {
    items.swap(it->items);
  } else if (!v.IsUndefined()) {
    return Error("'", v.TypeName(), "' object is not iterable");
  }
  return items;
}

absl::StatusOr<int64_t> Length(const Value& v) {
  if (v.IsUndefined()) return 0;
  if (const Text* t = v.AsText()) return static_cast<int64_t>(CountCodePoints(t->str()));
  if (const Sequence* s = v.AsSequence()) return static_cast<int64_t>(s->items.size());
  if (const Dict* d = v.AsDict()) return static_cast<int64_t>(d->entries().size());
  return Error("object of type '", v.TypeName(), "' has no len()");
}

}  // namespace lynx::jinja
