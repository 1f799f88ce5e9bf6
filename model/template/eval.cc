#include "model/template/access.h"
#include "model/template/error.h"
#include "model/template/filters.h"
#include "model/template/format.h"
#include "model/template/functions.h"
#include "model/template/interpreter.h"
#include "model/template/loop.h"
#include "model/template/methods.h"
#include "model/template/operators.h"
#include "model/template/predicates.h"
#include "runtime/status.h"

namespace lynx::jinja {

absl::StatusOr<Value> Interpreter::Eval(const Expr& e) {
  RETURN_IF_ERROR(Enter());
  absl::StatusOr<Value> v = EvalInner(e);
  --depth_;
  if (!v.ok() && error_line_ == 0) error_line_ = e.line;
  return v;
}

absl::StatusOr<Value> Interpreter::EvalInner(const Expr& e) {
  switch (e.kind) {
    case ExprKind::kConst:
      return static_cast<const ConstExpr&>(e).value;
    case ExprKind::kName:
      return Lookup(static_cast<const NameExpr&>(e).name);
    case ExprKind::kList:
    case ExprKind::kTuple:
      return EvalList(static_cast<const ManyExpr&>(e));
    case ExprKind::kDict:
      return EvalDict(static_cast<const DictExpr&>(e));
    case ExprKind::kUnary: {
      const auto& unary = static_cast<const UnaryExpr&>(e);
      ASSIGN_OR_RETURN(const Value v, Eval(*unary.operand));
      if (unary.negative) return Negate(v);
      // Unary plus: checks the operand as minus does and makes an int of a bool.
      int64_t i;
      if (v.ToInt(&i)) return Value(i);
      RETURN_IF_ERROR(Negate(v).status());
      return v;
    }
    case ExprKind::kBinary: {
      const auto& binary = static_cast<const BinaryExpr&>(e);
      ASSIGN_OR_RETURN(const Value left, Eval(*binary.left));
      ASSIGN_OR_RETURN(const Value right, Eval(*binary.right));
      return Arithmetic(ctx_, binary.op, left, right);
    }
    case ExprKind::kConcat:
      return EvalConcat(static_cast<const ManyExpr&>(e));
    case ExprKind::kCompare:
      return EvalCompare(static_cast<const CompareExpr&>(e));
    case ExprKind::kAnd:
    case ExprKind::kOr:
      return EvalLogic(static_cast<const ManyExpr&>(e));
    case ExprKind::kNot: {
      ASSIGN_OR_RETURN(const Value v, Eval(*static_cast<const ManyExpr&>(e).items[0]));
      return Value(!v.Truth());
    }
    case ExprKind::kConditional:
      return EvalConditional(static_cast<const ManyExpr&>(e));
    case ExprKind::kAttribute: {
      const auto& attribute = static_cast<const AttributeExpr&>(e);
      ASSIGN_OR_RETURN(const Value base, Eval(*attribute.base));
      return GetAttribute(base, attribute.name);
    }
    case ExprKind::kItem:
      return EvalItem(static_cast<const ItemExpr&>(e));
    case ExprKind::kCall:
      return EvalCall(static_cast<const CallExpr&>(e), nullptr);
    case ExprKind::kFilter:
      return EvalFilter(static_cast<const FilterExpr&>(e), nullptr);
    case ExprKind::kTest:
      return EvalTest(static_cast<const TestExpr&>(e));
    case ExprKind::kSlice:
      break;
  }
  return Error("a slice stands outside of a subscript");
}

absl::StatusOr<Value> Interpreter::EvalList(const ManyExpr& e) {
  std::vector<Value> items;
  items.reserve(e.items.size());
  for (const ExprPtr& item : e.items) {
    ASSIGN_OR_RETURN(Value v, Eval(*item));
    items.push_back(std::move(v));
  }
  return Value::Seq(e.kind == ExprKind::kList ? SequenceKind::kList : SequenceKind::kTuple,
                    std::move(items));
}

absl::StatusOr<Value> Interpreter::EvalDict(const DictExpr& e) {
  std::vector<Dict::Entry> entries;
  for (const auto& [key, value] : e.entries) {
    ASSIGN_OR_RETURN(Value k, Eval(*key));
    ASSIGN_OR_RETURN(Value v, Eval(*value));
    entries.push_back({std::move(k), std::move(v)});
  }
  return Dict::Make(std::move(entries));
}

absl::StatusOr<Value> Interpreter::EvalConcat(const ManyExpr& e) {
  Text out;
  for (const ExprPtr& item : e.items) {
    ASSIGN_OR_RETURN(const Value v, Eval(*item));
    ASSIGN_OR_RETURN(const Text text, ToStr(v, ctx_.budget));
    out.Append(text);
  }
  return Value(std::move(out));
}

absl::StatusOr<Value> Interpreter::EvalLogic(const ManyExpr& e) {
  ASSIGN_OR_RETURN(Value left, Eval(*e.items[0]));
  if (left.Truth() == (e.kind == ExprKind::kOr)) return left;
  return Eval(*e.items[1]);
}

absl::StatusOr<Value> Interpreter::EvalConditional(const ManyExpr& e) {
  ASSIGN_OR_RETURN(const Value condition, Eval(*e.items[1]));
  if (condition.Truth()) return Eval(*e.items[0]);
  if (e.items[2] != nullptr) return Eval(*e.items[2]);
  return Value::Undef("the inline if-expression evaluated to false and has no else");
}

absl::StatusOr<Value> Interpreter::EvalCompare(const CompareExpr& e) {
  ASSIGN_OR_RETURN(Value left, Eval(*e.first));
  for (const auto& [op, next] : e.rest) {
    ASSIGN_OR_RETURN(Value right, Eval(*next));
    ASSIGN_OR_RETURN(const bool holds, Compare(ctx_, op, left, right));
    if (!holds) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

absl::StatusOr<Value> Interpreter::EvalItem(const ItemExpr& e) {
  ASSIGN_OR_RETURN(const Value base, Eval(*e.base));
  if (e.key->kind != ExprKind::kSlice) {
    ASSIGN_OR_RETURN(const Value key, Eval(*e.key));
    return GetItem(ctx_, base, key);
  }
  const auto& slice = static_cast<const SliceExpr&>(*e.key);
  const Expr* parts[] = {slice.start.get(), slice.stop.get(), slice.step.get()};
  Value values[3];  // none where absent
  for (int i = 0; i < 3; ++i) {
    if (parts[i] == nullptr) continue;
    ASSIGN_OR_RETURN(values[i], Eval(*parts[i]));
  }
  return GetSlice(ctx_, base, &values[0], &values[1], &values[2]);
}

absl::StatusOr<Args> Interpreter::EvalArgs(const CallArgs& args) {
  Args out;
  for (const ExprPtr& a : args.positional) {
    ASSIGN_OR_RETURN(Value v, Eval(*a));
    out.positional.push_back(std::move(v));
  }
  for (const auto& [name, a] : args.keyword) {
    ASSIGN_OR_RETURN(Value v, Eval(*a));
    out.keyword.emplace_back(name, std::move(v));
  }
  if (args.star != nullptr) {
    ASSIGN_OR_RETURN(const Value star, Eval(*args.star));
    ASSIGN_OR_RETURN(const std::vector<Value> items, Items(ctx_, star));
    out.positional.insert(out.positional.end(), items.begin(), items.end());
  }
  if (args.double_star != nullptr) {
    ASSIGN_OR_RETURN(const Value star, Eval(*args.double_star));
    if (star.AsDict() == nullptr) return Error("'**' needs a dict, not ", star.TypeName());
    for (const Dict::Entry& entry : star.AsDict()->entries()) {
      if (entry.key.AsText() == nullptr) return Error("'**' needs string keys");
      out.keyword.emplace_back(entry.key.AsText()->str(), entry.value);
    }
  }
  return out;
}

absl::StatusOr<Value> Interpreter::EvalCall(const CallExpr& e, const Value* caller) {
  Value callee;
  // loop.cycle and loop.changed exist only as calls.
  if (e.callee->kind == ExprKind::kAttribute) {
    const auto& attribute = static_cast<const AttributeExpr&>(*e.callee);
    ASSIGN_OR_RETURN(const Value base, Eval(*attribute.base));
    Object* object = base.AsObject();
    if (object != nullptr && object->kind == Object::Kind::kLoop &&
        (attribute.name == "cycle" || attribute.name == "changed")) {
      ASSIGN_OR_RETURN(const Args args, EvalArgs(e.args));
      auto* loop = static_cast<LoopObject*>(object);
      return attribute.name == "cycle" ? loop->Cycle(args) : loop->Changed(ctx_, args);
    }
    if (object != nullptr && object->kind == Object::Kind::kCycler) {
      return CallCycler(static_cast<CyclerObject*>(object), attribute.name);
    }
    ASSIGN_OR_RETURN(callee, GetAttribute(base, attribute.name));
  } else {
    ASSIGN_OR_RETURN(callee, Eval(*e.callee));
  }
  ASSIGN_OR_RETURN(Args args, EvalArgs(e.args));
  if (caller != nullptr) args.keyword.emplace_back("caller", *caller);
  return Call(callee, std::move(args));
}

absl::StatusOr<Value> Interpreter::Call(const Value& callee, Args args) {
  if (callee.IsUndefined()) return Error(callee.WhyUndefined());
  if (const BoundMethod* bound = callee.AsBound()) return CallMethod(ctx_, *bound, args);
  if (Object* object = callee.AsObject()) {
    switch (object->kind) {
      case Object::Kind::kMacro:
        return CallMacro(static_cast<MacroObject&>(*object), std::move(args));
      case Object::Kind::kLoop:
        return CallLoop(static_cast<LoopObject*>(object), args);
      case Object::Kind::kFunction:
        return static_cast<FunctionObject*>(object)->fn(ctx_, args);
      case Object::Kind::kJoiner:
        return CallJoiner(static_cast<JoinerObject*>(object));
      default:
        break;
    }
  }
  return Error("'", callee.TypeName(), "' object is not callable");
}

absl::StatusOr<Value> Interpreter::EvalFilter(const FilterExpr& e, const Value* block) {
  Value input;
  if (e.input == nullptr) {
    input = *block;
  } else if (e.input->kind == ExprKind::kFilter) {
    ASSIGN_OR_RETURN(input, EvalFilter(static_cast<const FilterExpr&>(*e.input), block));
  } else {
    ASSIGN_OR_RETURN(input, Eval(*e.input));
  }
  ASSIGN_OR_RETURN(const Args args, EvalArgs(e.args));
  absl::StatusOr<Value> result = e.filter->fn(ctx_, input, args);
  if (!result.ok() && error_line_ == 0) error_line_ = e.line;
  return result;
}

absl::StatusOr<Value> Interpreter::EvalTest(const TestExpr& e) {
  ASSIGN_OR_RETURN(const Value input, Eval(*e.input));
  ASSIGN_OR_RETURN(const Args args, EvalArgs(e.args));
  ASSIGN_OR_RETURN(const bool holds, e.test->fn(ctx_, input, args));
  return Value(holds);
}

}  // namespace lynx::jinja
