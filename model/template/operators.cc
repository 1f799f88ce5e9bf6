#include "model/template/operators.h"

#include <string.h>

#include <algorithm>
#include <cmath>

#include "model/template/error.h"
#include "runtime/status.h"

namespace lynx::jinja {
namespace {

const char* Symbol(BinaryOp op) {
  static constexpr const char* kSymbols[] = {"+", "-", "*", "/", "//", "%", "**"};
  return kSymbols[static_cast<int>(op)];
}

absl::StatusOr<Value> IntPower(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) return Error("0 cannot be raised to a negative power");
    return Value(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  int64_t result = 1;
  for (; exponent > 0; exponent >>= 1) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) {
      return Error("integer overflow");
    }
    if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) return Error("integer overflow");
  }
  return Value(result);
}

absl::StatusOr<Value> IntArithmetic(BinaryOp op, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case BinaryOp::kAdd:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case BinaryOp::kSub:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case BinaryOp::kMul:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    case BinaryOp::kPow:
      return IntPower(a, b);
    case BinaryOp::kDiv:
      if (b == 0) return Error("division by zero");
      return Value(static_cast<double>(a) / static_cast<double>(b));
    case BinaryOp::kFloorDiv:
    case BinaryOp::kMod: {
      if (b == 0) return Error("integer division or modulo by zero");
      if (b == -1) return op == BinaryOp::kMod ? Value(int64_t{0}) : Negate(Value(a));
      const int64_t rest = a % b;
      const bool adjust = rest != 0 && (rest < 0) != (b < 0);
      result = op == BinaryOp::kMod ? (adjust ? rest + b : rest) : a / b - (adjust ? 1 : 0);
      break;
    }
  }
  if (overflow) return Error("integer overflow");
  return Value(result);
}

absl::StatusOr<Value> FloatArithmetic(BinaryOp op, double a, double b) {
  switch (op) {
    case BinaryOp::kAdd:
      return Value(a + b);
    case BinaryOp::kSub:
      return Value(a - b);
    case BinaryOp::kMul:
      return Value(a * b);
    case BinaryOp::kDiv:
      if (b == 0) return Error("float division by zero");
      return Value(a / b);
    case BinaryOp::kPow: {
      if (a < 0 && std::floor(b) != b) return Error("complex numbers are not supported");
      if (a == 0 && b < 0) return Error("0.0 cannot be raised to a negative power");
      const double result = std::pow(a, b);
      if (std::isinf(result) && std::isfinite(a) && std::isfinite(b))
        return Error("float overflow");
      return Value(result);
    }
    case BinaryOp::kFloorDiv:
    case BinaryOp::kMod: {
      if (b == 0) return Error("float floor division or modulo by zero");
      double mod = std::fmod(a, b);
      double div = (a - mod) / b;
      if (mod != 0 && (mod < 0) != (b < 0)) {
        mod += b;
        div -= 1;
      }
      if (mod == 0) mod = std::copysign(0.0, b);
      if (op == BinaryOp::kMod) return Value(mod);
      double whole = std::floor(div);
      if (div - whole > 0.5) whole += 1;
      return Value(div == 0 ? std::copysign(0.0, a / b) : whole);
    }
  }
  return Error("unknown operator");
}

absl::StatusOr<Value> Repeat(Context& ctx, const Value& v, int64_t times) {
  const size_t n = times < 0 ? 0 : static_cast<size_t>(times);
  if (const Text* t = v.AsText()) {
    if (t->empty()) return v;
    if (n > (size_t{1} << 40) / t->size()) return Error("the repeated string is too long");
    RETURN_IF_ERROR(ctx.budget.Bytes(n * t->size()));
    RETURN_IF_ERROR(ctx.budget.Steps(n));
    Text out;
    for (size_t i = 0; i < n; ++i) out.Append(*t);
    return Value(std::move(out));
  }
  const Sequence* s = v.AsSequence();
  if (s->items.empty()) return v;
  if (n > (size_t{1} << 40) / s->items.size()) return Error("the repeated list is too long");
  RETURN_IF_ERROR(ctx.budget.Bytes(n * s->items.size() * sizeof(Value)));
  std::vector<Value> items;
  for (size_t i = 0; i < n; ++i) items.insert(items.end(), s->items.begin(), s->items.end());
  return Value::Seq(s->kind, std::move(items));
}

bool IsPlainSequence(const Value& v) {
  const Sequence* s = v.AsSequence();
  return s != nullptr && (s->kind == SequenceKind::kList || s->kind == SequenceKind::kTuple);
}

absl::StatusOr<Value> Join(Context& ctx, const Value& a, const Value& b) {
  if (a.AsText() != nullptr) {
    RETURN_IF_ERROR(ctx.budget.Bytes(a.AsText()->size() + b.AsText()->size()));
    Text out = *a.AsText();
    out.Append(*b.AsText());
    return Value(std::move(out));
  }
  std::vector<Value> items = a.AsSequence()->items;
  const std::vector<Value>& more = b.AsSequence()->items;
  RETURN_IF_ERROR(ctx.budget.Bytes((items.size() + more.size()) * sizeof(Value)));
  items.insert(items.end(), more.begin(), more.end());
  return Value::Seq(a.AsSequence()->kind, std::move(items));
}

absl::StatusOr<bool> EqualSequences(Context& ctx, const Sequence& a, const Sequence& b) {
  if (a.kind != b.kind || a.items.size() != b.items.size()) return false;
  for (size_t i = 0; i < a.items.size(); ++i) {
    ASSIGN_OR_RETURN(const bool same, Equal(ctx, a.items[i], b.items[i]));
    if (!same) return false;
  }
  return true;
}

absl::StatusOr<bool> EqualDicts(Context& ctx, const Dict& a, const Dict& b) {
  if (a.entries().size() != b.entries().size()) return false;
  for (const Dict::Entry& e : a.entries()) {
    ASSIGN_OR_RETURN(const Value* other, b.Find(e.key));
    if (other == nullptr) return false;
    ASSIGN_OR_RETURN(const bool same, Equal(ctx, e.value, *other));
    if (!same) return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<Value> Arithmetic(Context& ctx, BinaryOp op, const Value& a, const Value& b) {
  if (a.IsUndefined()) return Error(a.WhyUndefined());
  if (b.IsUndefined()) return Error(b.WhyUndefined());
  int64_t i, j;
  if (a.ToInt(&i) && b.ToInt(&j)) return IntArithmetic(op, i, j);
  double x, y;
  if (a.ToDouble(&x) && b.ToDouble(&y)) return FloatArithmetic(op, x, y);
  if (op == BinaryOp::kMul) {
    if ((a.AsText() || IsPlainSequence(a)) && b.ToInt(&j)) return Repeat(ctx, a, j);
    if ((b.AsText() || IsPlainSequence(b)) && a.ToInt(&i)) return Repeat(ctx, b, i);
  }
  if (op == BinaryOp::kAdd) {
    const bool sequences =
        IsPlainSequence(a) && IsPlainSequence(b) && a.AsSequence()->kind == b.AsSequence()->kind;
    if (sequences || (a.AsText() && b.AsText())) return Join(ctx, a, b);
  }
  return Error("unsupported operand types for ", Symbol(op), ": '", a.TypeName(), "' and '",
               b.TypeName(), "'");
}

absl::StatusOr<Value> Negate(const Value& v) {
  if (v.IsUndefined()) return Error(v.WhyUndefined());
  int64_t i;
  if (v.ToInt(&i)) {
    if (i == INT64_MIN) return Error("integer overflow");
    return Value(-i);
  }
  if (v.AsFloat()) return Value(-*v.AsFloat());
  return Error("bad operand type for unary -: '", v.TypeName(), "'");
}

absl::StatusOr<bool> Equal(Context& ctx, const Value& a, const Value& b) {
  RETURN_IF_ERROR(ctx.budget.Steps());
  int64_t i, j;
  if (a.ToInt(&i) && b.ToInt(&j)) return i == j;
  double x, y;
  if (a.ToDouble(&x) && b.ToDouble(&y)) return x == y;
  if (a.AsText() && b.AsText()) return a.AsText()->str() == b.AsText()->str();
  if (a.AsSequence() && b.AsSequence())
    return EqualSequences(ctx, *a.AsSequence(), *b.AsSequence());
  if (a.AsDict() && b.AsDict()) return EqualDicts(ctx, *a.AsDict(), *b.AsDict());
  if (a.AsObject() && b.AsObject()) return a.AsObject() == b.AsObject();
  return (a.IsNone() && b.IsNone()) || (a.IsUndefined() && b.IsUndefined());
}

absl::StatusOr<bool> Less(Context& ctx, const Value& a, const Value& b) {
  RETURN_IF_ERROR(ctx.budget.Steps());
  if (a.IsUndefined()) return Error(a.WhyUndefined());
  if (b.IsUndefined()) return Error(b.WhyUndefined());
  int64_t i, j;
  if (a.ToInt(&i) && b.ToInt(&j)) return i < j;
  double x, y;
  if (a.ToDouble(&x) && b.ToDouble(&y)) return x < y;
  // The order of UTF-8 bytes is the order of code points.
  if (a.AsText() && b.AsText()) return a.AsText()->str() < b.AsText()->str();
  if (IsPlainSequence(a) && IsPlainSequence(b) && a.AsSequence()->kind == b.AsSequence()->kind) {
    const auto& left = a.AsSequence()->items;
    const auto& right = b.AsSequence()->items;
    for (size_t n = 0; n < std::min(left.size(), right.size()); ++n) {
      ASSIGN_OR_RETURN(const bool same, Equal(ctx, left[n], right[n]));
      if (!same) return Less(ctx, left[n], right[n]);
    }
    return left.size() < right.size();
  }
  return Error("'", a.TypeName(), "' and '", b.TypeName(), "' have no order");
}

absl::StatusOr<bool> Contains(Context& ctx, const Value& container, const Value& item) {
  if (const Text* t = container.AsText()) {
    const Text* part = item.AsText();
    if (part == nullptr) return Error("'in <string>' requires a string, not ", item.TypeName());
    RETURN_IF_ERROR(ctx.budget.Steps(t->size() / 256));
    return memmem(t->str().data(), t->size(), part->str().data(), part->size()) != nullptr;
  }
  if (const Dict* d = container.AsDict()) {
    ASSIGN_OR_RETURN(const Value* found, d->Find(item));
    return found != nullptr;
  }
  if (container.IsUndefined()) return false;
  const std::vector<Value>* items = nullptr;
  std::vector<Value> taken;
  if (const Sequence* s = container.AsSequence()) items = &s->items;
  if (Iterator* it = container.AsIterator()) {
    taken = std::move(it->items);
    it->items.clear();
    items = &taken;
  }
  if (items == nullptr)
    return Error("argument of type '", container.TypeName(), "' is not iterable");
  for (const Value& v : *items) {
    ASSIGN_OR_RETURN(const bool same, Equal(ctx, v, item));
    if (same) return true;
  }
  return false;
}

absl::StatusOr<bool> Compare(Context& ctx, CompareOp op, const Value& a, const Value& b) {
  switch (op) {
    case CompareOp::kEq:
      return Equal(ctx, a, b);
    case CompareOp::kIn:
      return Contains(ctx, b, a);
    case CompareOp::kLt:
      return Less(ctx, a, b);
    case CompareOp::kGt:
      return Less(ctx, b, a);
    case CompareOp::kNe: {
      ASSIGN_OR_RETURN(const bool same, Equal(ctx, a, b));
      return !same;
    }
    case CompareOp::kNotIn: {
      ASSIGN_OR_RETURN(const bool in, Contains(ctx, b, a));
      return !in;
    }
    case CompareOp::kLe:
    case CompareOp::kGe: {
      const bool le = op == CompareOp::kLe;
      ASSIGN_OR_RETURN(const bool less, le ? Less(ctx, a, b) : Less(ctx, b, a));
      return less ? absl::StatusOr<bool>(true) : Equal(ctx, a, b);
    }
  }
  return Error("unknown comparison");
}

absl::Status StableSort(Context& ctx, std::vector<std::pair<Value, Value>>* keyed, bool reverse) {
  // std::stable_sort needs an order that cannot fail: the first failure is kept, and from then on
  // everything compares equal.
  absl::Status status;
  std::stable_sort(keyed->begin(), keyed->end(), [&](const auto& a, const auto& b) {
    if (!status.ok()) return false;
    absl::StatusOr<bool> less = reverse ? Less(ctx, b.first, a.first) : Less(ctx, a.first, b.first);
    if (!less.ok()) status = less.status();
    return less.ok() && *less;
  });
  return status;
}

}  // namespace lynx::jinja
