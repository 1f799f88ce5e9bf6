#include "model/template/predicates.h"

#include "model/template/ast.h"
#include "model/template/error.h"
#include "model/template/format.h"
#include "model/template/operators.h"
#include "model/template/text_ops.h"
#include "runtime/status.h"

namespace lynx::jinja {
namespace {

using Result = absl::StatusOr<bool>;

template <bool (*kHolds)(const Value&)>
Result Plain(Context&, const Value& v, const Args& args) {
  if (!args.positional.empty() || !args.keyword.empty()) return Error("the test takes no argument");
  return kHolds(v);
}

bool IsDefined(const Value& v) { return !v.IsUndefined(); }
bool IsUndefined(const Value& v) { return v.IsUndefined(); }
bool IsNone(const Value& v) { return v.IsNone(); }
bool IsBoolean(const Value& v) { return v.AsBool() != nullptr; }
bool IsTrue(const Value& v) { return v.AsBool() != nullptr && *v.AsBool(); }
bool IsFalse(const Value& v) { return v.AsBool() != nullptr && !*v.AsBool(); }
bool IsInteger(const Value& v) { return v.AsInt() != nullptr; }
bool IsFloat(const Value& v) { return v.AsFloat() != nullptr; }
bool IsNumber(const Value& v) { return v.IsNumber(); }
bool IsString(const Value& v) { return v.AsText() != nullptr; }
bool IsMapping(const Value& v) { return v.AsDict() != nullptr; }
bool IsIterable(const Value& v) {
  return v.AsText() || v.AsSequence() || v.AsDict() || v.AsIterator() || v.IsUndefined() ||
         (v.AsObject() != nullptr && v.AsObject()->kind == Object::Kind::kLoop);
}
bool IsSequence(const Value& v) {
  const Sequence* s = v.AsSequence();
  return v.AsText() || v.AsDict() || v.IsUndefined() || (s && s->kind <= SequenceKind::kRange);
}
bool IsCallable(const Value& v) {
  if (v.AsBound() != nullptr || v.IsUndefined()) return true;
  const Object* o = v.AsObject();
  return o != nullptr && o->kind != Object::Kind::kNamespace && o->kind != Object::Kind::kCycler;
}

template <int64_t kRest>
Result Parity(Context& ctx, const Value& v, const Args& args) {
  RETURN_IF_ERROR(BindArgs("odd", args, {}).status());
  ASSIGN_OR_RETURN(const Value rest, Arithmetic(ctx, BinaryOp::kMod, v, Value(int64_t{2})));
  return Equal(ctx, rest, Value(kRest));
}

Result DivisibleBy(Context& ctx, const Value& v, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("divisibleby", args, {"num"}, 1));
  ASSIGN_OR_RETURN(const Value rest, Arithmetic(ctx, BinaryOp::kMod, v, *a[0]));
  return Equal(ctx, rest, Value(int64_t{0}));
}

template <CompareOp kOp>
Result CompareTest(Context& ctx, const Value& v, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("comparison", args, {""}, 1));
  return Compare(ctx, kOp, v, *a[0]);
}

// Python's `is` as far as it is visible: equal values of one simple type.
Result SameAs(Context& ctx, const Value& v, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("sameas", args, {"other"}, 1));
  if (v.TypeName() != a[0]->TypeName()) return false;
  const bool simple = v.IsNone() || v.AsBool() || v.AsObject();
  if (!simple) return Error("the test 'sameas' is only supported for none, booleans and objects");
  return Equal(ctx, v, *a[0]);
}

template <bool kUpper>
Result CaseTest(Context& ctx, const Value& v, const Args& args) {
  RETURN_IF_ERROR(BindArgs("upper", args, {}).status());
  ASSIGN_OR_RETURN(const Text t, ToStr(v, ctx.budget));
  return HasOnlyCase(t, kUpper);
}

constexpr TestSpec kTests[] = {
    {"boolean", Plain<IsBoolean>},
    {"callable", Plain<IsCallable>},
    {"defined", Plain<IsDefined>},
    {"divisibleby", DivisibleBy},
    {"eq", CompareTest<CompareOp::kEq>},
    {"equalto", CompareTest<CompareOp::kEq>},
    {"==", CompareTest<CompareOp::kEq>},
    {"even", Parity<0>},
    {"false", Plain<IsFalse>},
    {"float", Plain<IsFloat>},
    {"ge", CompareTest<CompareOp::kGe>},
    {">=", CompareTest<CompareOp::kGe>},
    {"gt", CompareTest<CompareOp::kGt>},
    {"greaterthan", CompareTest<CompareOp::kGt>},
    {">", CompareTest<CompareOp::kGt>},
    {"in", CompareTest<CompareOp::kIn>},
    {"integer", Plain<IsInteger>},
    {"iterable", Plain<IsIterable>},
    {"le", CompareTest<CompareOp::kLe>},
    {"<=", CompareTest<CompareOp::kLe>},
    {"lower", CaseTest<false>},
    {"lt", CompareTest<CompareOp::kLt>},
    {"lessthan", CompareTest<CompareOp::kLt>},
    {"<", CompareTest<CompareOp::kLt>},
    {"mapping", Plain<IsMapping>},
    {"ne", CompareTest<CompareOp::kNe>},
    {"!=", CompareTest<CompareOp::kNe>},
    {"none", Plain<IsNone>},
    {"number", Plain<IsNumber>},
    {"odd", Parity<1>},
    {"sameas", SameAs},
    {"sequence", Plain<IsSequence>},
    {"string", Plain<IsString>},
    {"true", Plain<IsTrue>},
    {"undefined", Plain<IsUndefined>},
    {"upper", CaseTest<true>},
};

}  // namespace

const TestSpec* FindTest(std::string_view name) {
  for (const TestSpec& t : kTests) {
    if (t.name == name) return &t;
  }
  return nullptr;
}

}  // namespace lynx::jinja
