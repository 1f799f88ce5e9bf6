#include "model/template/ast_walk.h"

namespace lynx::jinja {
namespace {

void WalkExpr(const Expr* e, const Visitor& v);

void WalkArgs(const CallArgs& args, const Visitor& v) {
  for (const ExprPtr& a : args.positional) WalkExpr(a.get(), v);
  for (const auto& [name, a] : args.keyword) WalkExpr(a.get(), v);
  WalkExpr(args.star.get(), v);
  WalkExpr(args.double_star.get(), v);
}

void WalkOperands(const Expr& e, const Visitor& v) {
  switch (e.kind) {
    case ExprKind::kConst:
    case ExprKind::kName:
      return;
    case ExprKind::kList:
    case ExprKind::kTuple:
    case ExprKind::kConcat:
    case ExprKind::kAnd:
    case ExprKind::kOr:
    case ExprKind::kNot:
    case ExprKind::kConditional:
      for (const ExprPtr& i : static_cast<const ManyExpr&>(e).items) WalkExpr(i.get(), v);
      return;
    case ExprKind::kDict:
      for (const auto& [key, value] : static_cast<const DictExpr&>(e).entries) {
        WalkExpr(key.get(), v);
        WalkExpr(value.get(), v);
      }
      return;
    case ExprKind::kUnary:
      return WalkExpr(static_cast<const UnaryExpr&>(e).operand.get(), v);
    case ExprKind::kBinary:
      WalkExpr(static_cast<const BinaryExpr&>(e).left.get(), v);
      return WalkExpr(static_cast<const BinaryExpr&>(e).right.get(), v);
    case ExprKind::kCompare:
      WalkExpr(static_cast<const CompareExpr&>(e).first.get(), v);
      for (const auto& [op, x] : static_cast<const CompareExpr&>(e).rest) WalkExpr(x.get(), v);
      return;
    case ExprKind::kAttribute:
      return WalkExpr(static_cast<const AttributeExpr&>(e).base.get(), v);
    case ExprKind::kItem:
      WalkExpr(static_cast<const ItemExpr&>(e).base.get(), v);
      return WalkExpr(static_cast<const ItemExpr&>(e).key.get(), v);
    case ExprKind::kSlice:
      WalkExpr(static_cast<const SliceExpr&>(e).start.get(), v);
      WalkExpr(static_cast<const SliceExpr&>(e).stop.get(), v);
      return WalkExpr(static_cast<const SliceExpr&>(e).step.get(), v);
    case ExprKind::kCall:
      WalkExpr(static_cast<const CallExpr&>(e).callee.get(), v);
      return WalkArgs(static_cast<const CallExpr&>(e).args, v);
    case ExprKind::kFilter:
      WalkExpr(static_cast<const FilterExpr&>(e).input.get(), v);
      return WalkArgs(static_cast<const FilterExpr&>(e).args, v);
    case ExprKind::kTest:
      WalkExpr(static_cast<const TestExpr&>(e).input.get(), v);
      return WalkArgs(static_cast<const TestExpr&>(e).args, v);
  }
}

void WalkExpr(const Expr* e, const Visitor& v) {
  if (e == nullptr) return;
  v.expr(*e);
  WalkOperands(*e, v);
}

void WalkMacro(const MacroStmt& macro, const Visitor& v) {
  for (const Param& p : macro.params) WalkExpr(p.default_value.get(), v);
  Walk(macro.body, v);
}

void WalkStmt(const Stmt& s, const Visitor& v) {
  switch (s.kind) {
    case StmtKind::kText:
    case StmtKind::kBreak:
    case StmtKind::kContinue:
      return;
    case StmtKind::kPrint:
      return WalkExpr(static_cast<const PrintStmt&>(s).expr.get(), v);
    case StmtKind::kSet:
      return WalkExpr(static_cast<const SetStmt&>(s).value.get(), v);
    case StmtKind::kMacro:
      return WalkMacro(static_cast<const MacroStmt&>(s), v);
    case StmtKind::kScope:
      return Walk(static_cast<const ScopeStmt&>(s).body, v);
    case StmtKind::kIf:
      for (const auto& [condition, body] : static_cast<const IfStmt&>(s).branches) {
        WalkExpr(condition.get(), v);
        Walk(body, v);
      }
      return Walk(static_cast<const IfStmt&>(s).otherwise, v);
    case StmtKind::kFor: {
      const auto& loop = static_cast<const ForStmt&>(s);
      WalkExpr(loop.iterable.get(), v);
      WalkExpr(loop.condition.get(), v);
      Walk(loop.body, v);
      return Walk(loop.otherwise, v);
    }
    case StmtKind::kSetBlock:
      WalkExpr(static_cast<const SetBlockStmt&>(s).filter.get(), v);
      return Walk(static_cast<const SetBlockStmt&>(s).body, v);
    case StmtKind::kFilterBlock:
      WalkExpr(static_cast<const FilterBlockStmt&>(s).filter.get(), v);
      return Walk(static_cast<const FilterBlockStmt&>(s).body, v);
    case StmtKind::kCallBlock:
      WalkExpr(static_cast<const CallBlockStmt&>(s).call.get(), v);
      return WalkMacro(static_cast<const CallBlockStmt&>(s).caller, v);
    case StmtKind::kWith:
      for (const auto& [target, e] : static_cast<const WithStmt&>(s).assignments)
        WalkExpr(e.get(), v);
      return Walk(static_cast<const WithStmt&>(s).body, v);
  }
}

}  // namespace

void Walk(const Block& block, const Visitor& visitor) {
  for (const StmtPtr& s : block) {
    visitor.stmt(*s);
    WalkStmt(*s, visitor);
  }
}

}  // namespace lynx::jinja
