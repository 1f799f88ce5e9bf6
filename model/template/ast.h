// The syntax tree. Nodes are immutable after parsing and shared by all renderings of a template.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/template/value.h"

namespace lynx::jinja {

struct FilterSpec;
struct TestSpec;

enum class ExprKind {
  kConst,
  kName,
  kList,
  kTuple,
  kDict,
  kUnary,
  kBinary,
  kConcat,
  kCompare,
  kAnd,
  kOr,
  kNot,
  kConditional,
  kAttribute,
  kItem,
  kSlice,
  kCall,
  kFilter,
  kTest,
};

struct Expr {
  Expr(ExprKind k, int l) : kind(k), line(l) {}
  virtual ~Expr() = default;
  const ExprKind kind;
  const int line;
  int depth = 1;  // at most kSourceDepthMax
};
using ExprPtr = std::unique_ptr<Expr>;

struct ConstExpr : Expr {
  ConstExpr(int l, Value v) : Expr(ExprKind::kConst, l), value(std::move(v)) {}
  Value value;
};
struct NameExpr : Expr {
  NameExpr(int l, std::string n) : Expr(ExprKind::kName, l), name(std::move(n)) {}
  std::string name;
};
// kList, kTuple, kConcat, kAnd, kOr (two operands), kNot (one), kConditional (then, condition,
// else).
struct ManyExpr : Expr {
  using Expr::Expr;
  std::vector<ExprPtr> items;  // kConditional: items[2] may be null
};
struct DictExpr : Expr {
  explicit DictExpr(int l) : Expr(ExprKind::kDict, l) {}
  std::vector<std::pair<ExprPtr, ExprPtr>> entries;
};
struct UnaryExpr : Expr {
  UnaryExpr(int l, bool n, ExprPtr e)
      : Expr(ExprKind::kUnary, l), negative(n), operand(std::move(e)) {}
  bool negative;
  ExprPtr operand;
};
enum class BinaryOp { kAdd, kSub, kMul, kDiv, kFloorDiv, kMod, kPow };
struct BinaryExpr : Expr {
  BinaryExpr(int l, BinaryOp o, ExprPtr a, ExprPtr b)
      : Expr(ExprKind::kBinary, l), op(o), left(std::move(a)), right(std::move(b)) {}
  BinaryOp op;
  ExprPtr left, right;
};
enum class CompareOp { kEq, kNe, kLt, kLe, kGt, kGe, kIn, kNotIn };
struct CompareExpr : Expr {
  explicit CompareExpr(int l) : Expr(ExprKind::kCompare, l) {}
  ExprPtr first;
  std::vector<std::pair<CompareOp, ExprPtr>> rest;
};
struct AttributeExpr : Expr {
  AttributeExpr(int l, ExprPtr b, std::string n)
      : Expr(ExprKind::kAttribute, l), base(std::move(b)), name(std::move(n)) {}
  ExprPtr base;
  std::string name;
};
struct ItemExpr : Expr {
  ItemExpr(int l, ExprPtr b, ExprPtr k)
      : Expr(ExprKind::kItem, l), base(std::move(b)), key(std::move(k)) {}
  ExprPtr base, key;
};
// Only as the key of an ItemExpr; each part may be null.
struct SliceExpr : Expr {
  explicit SliceExpr(int l) : Expr(ExprKind::kSlice, l) {}
  ExprPtr start, stop, step;
};
struct CallArgs {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> keyword;
  ExprPtr star, double_star;  // *args, **kwargs; may be null
};
struct CallExpr : Expr {
  CallExpr(int l, ExprPtr c) : Expr(ExprKind::kCall, l), callee(std::move(c)) {}
  ExprPtr callee;
  CallArgs args;
};
struct FilterExpr : Expr {
  explicit FilterExpr(int l) : Expr(ExprKind::kFilter, l) {}
  ExprPtr input;  // null at the head of a filter block
  const FilterSpec* filter = nullptr;
  CallArgs args;
};
struct TestExpr : Expr {
  explicit TestExpr(int l) : Expr(ExprKind::kTest, l) {}
  ExprPtr input;
  const TestSpec* test = nullptr;
  CallArgs args;
};

enum class StmtKind {
  kText,
  kPrint,
  kIf,
  kFor,
  kSet,
  kSetBlock,
  kMacro,
  kCallBlock,
  kFilterBlock,
  kWith,
  kScope,
  kBreak,
  kContinue,
};

struct Stmt {
  Stmt(StmtKind k, int l) : kind(k), line(l) {}
  virtual ~Stmt() = default;
  const StmtKind kind;
  const int line;
};
using StmtPtr = std::unique_ptr<Stmt>;
using Block = std::vector<StmtPtr>;

struct TextStmt : Stmt {
  TextStmt(int l, std::string t) : Stmt(StmtKind::kText, l), text(std::move(t)) {}
  std::string text;
};
struct PrintStmt : Stmt {
  PrintStmt(int l, ExprPtr e) : Stmt(StmtKind::kPrint, l), expr(std::move(e)) {}
  ExprPtr expr;
};
struct IfStmt : Stmt {
  explicit IfStmt(int l) : Stmt(StmtKind::kIf, l) {}
  std::vector<std::pair<ExprPtr, Block>> branches;  // if and elif
  Block otherwise;
};
// What is assigned to: a name, an attribute of a namespace, or a tuple of targets.
struct Target {
  std::string name;
  std::string attribute;  // empty: a plain name
  std::vector<Target> items;
  bool is_tuple = false;
};
struct ForStmt : Stmt {
  explicit ForStmt(int l) : Stmt(StmtKind::kFor, l) {}
  Target target;
  ExprPtr iterable;
  ExprPtr condition;  // may be null
  bool recursive = false;
  Block body, otherwise;
};
struct SetStmt : Stmt {
  explicit SetStmt(int l) : Stmt(StmtKind::kSet, l) {}
  Target target;
  ExprPtr value;
};
struct SetBlockStmt : Stmt {
  explicit SetBlockStmt(int l) : Stmt(StmtKind::kSetBlock, l) {}
  Target target;
  ExprPtr filter;  // chain of FilterExpr with a null head, or null
  Block body;
};
struct Param {
  std::string name;
  ExprPtr default_value;  // may be null
};
// kMacro, and the caller of a kCallBlock.
struct MacroStmt : Stmt {
  explicit MacroStmt(int l) : Stmt(StmtKind::kMacro, l) {}
  std::string name;
  std::vector<Param> params;
  bool uses_varargs = false, uses_kwargs = false, uses_caller = false;
  Block body;
};
struct CallBlockStmt : Stmt {
  explicit CallBlockStmt(int l) : Stmt(StmtKind::kCallBlock, l), caller(l) {}
  MacroStmt caller;
  ExprPtr call;  // a CallExpr
};
struct FilterBlockStmt : Stmt {
  explicit FilterBlockStmt(int l) : Stmt(StmtKind::kFilterBlock, l) {}
  ExprPtr filter;
  Block body;
};
struct WithStmt : Stmt {
  explicit WithStmt(int l) : Stmt(StmtKind::kWith, l) {}
  std::vector<std::pair<Target, ExprPtr>> assignments;
  Block body;
};
// {% generation %}: a scope of its own, nothing else.
struct ScopeStmt : Stmt {
  explicit ScopeStmt(int l) : Stmt(StmtKind::kScope, l) {}
  Block body;
};
struct PlainStmt : Stmt {
  using Stmt::Stmt;
};

}  // namespace lynx::jinja
