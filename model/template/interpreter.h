// Runs a syntax tree once. Not shared between threads; the tree is.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "model/template/ast.h"
#include "model/template/context.h"

namespace lynx::jinja {

using Variables = absl::flat_hash_map<std::string, Value>;

struct Scope {
  Scope* parent = nullptr;
  bool pinned = false;  // a macro refers to it: it lives until the rendering ends
  std::vector<std::pair<std::string, Value>> variables;
};

struct LoopObject;

struct MacroObject : Object {
  MacroObject(const MacroStmt* m, Scope* s) : Object(Kind::kMacro), macro(m), scope(s) {}
  const MacroStmt* macro;
  Scope* scope;  // where it was defined
};

class Interpreter {
 public:
  Interpreter(const Limits& limits, const std::tm& now, const Variables& variables)
      : ctx_(limits, now), variables_(variables) {}

  // Errors name the line.
  absl::StatusOr<Text> Run(const Block& block);

 private:
  friend struct LoopObject;
  enum class Flow { kNext, kBreak, kContinue };

  // interpreter.cc: statements
  absl::StatusOr<Flow> Execute(const Block& block);
  absl::StatusOr<Flow> ExecuteOne(const Stmt& stmt);
  absl::StatusOr<Flow> ExecuteIf(const IfStmt& stmt);
  absl::StatusOr<Flow> ExecuteScoped(const Block& block);
  absl::Status ExecuteSetBlock(const SetBlockStmt& stmt);
  absl::StatusOr<Flow> ExecuteWith(const WithStmt& stmt);
  absl::Status ExecuteCallBlock(const CallBlockStmt& stmt);
  absl::Status ExecuteFilterBlock(const FilterBlockStmt& stmt);
  absl::Status Emit(const Text& text);
  absl::StatusOr<Text> Capture(const Block& block);
  absl::Status Assign(const Target& target, const Value& value);
  void SetVariable(const std::string& name, Value value);
  Value Lookup(const std::string& name) const;

  // loop.cc
  absl::StatusOr<Flow> ExecuteFor(const ForStmt& stmt, std::vector<Value> items, int depth0);
  absl::StatusOr<Flow> RunPasses(const ForStmt& stmt, LoopObject* loop);
  absl::StatusOr<Value> CallLoop(LoopObject* loop, const Args& args);

  // macro.cc
  absl::StatusOr<Value> MakeMacro(const MacroStmt& macro);
  absl::StatusOr<Value> CallMacro(const MacroObject& object, Args args);
  absl::Status BindParams(const MacroStmt& macro, Args* args);

  // eval.cc: expressions
  absl::StatusOr<Value> Eval(const Expr& e);
  absl::StatusOr<Value> EvalInner(const Expr& e);
  absl::StatusOr<Value> EvalList(const ManyExpr& e);
  absl::StatusOr<Value> EvalDict(const DictExpr& e);
  absl::StatusOr<Value> EvalConcat(const ManyExpr& e);
  absl::StatusOr<Value> EvalLogic(const ManyExpr& e);
  absl::StatusOr<Value> EvalConditional(const ManyExpr& e);
  absl::StatusOr<Value> EvalCompare(const CompareExpr& e);
  absl::StatusOr<Value> EvalItem(const ItemExpr& e);
  absl::StatusOr<Value> EvalCall(const CallExpr& e, const Value* caller);
  absl::StatusOr<Value> EvalFilter(const FilterExpr& e, const Value* block);
  absl::StatusOr<Value> EvalTest(const TestExpr& e);
  absl::StatusOr<Args> EvalArgs(const CallArgs& args);
  absl::StatusOr<Value> Call(const Value& callee, Args args);

  // A new innermost scope for the life of this object.
  class ScopeGuard {
   public:
    ScopeGuard(Interpreter* interpreter, Scope* parent);
    ~ScopeGuard();

   private:
    Interpreter* interpreter_;
    Scope* previous_;
    std::unique_ptr<Scope> scope_;
  };

  // Counts nested evaluations.
  absl::Status Enter();

  Context ctx_;
  const Variables& variables_;
  Scope root_;
  Scope* scope_ = &root_;
  std::vector<std::unique_ptr<Scope>> pinned_;
  Text* out_ = nullptr;
  int depth_ = 0;
  int error_line_ = 0;
};

}  // namespace lynx::jinja
