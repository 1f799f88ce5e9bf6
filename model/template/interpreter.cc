#include "model/template/interpreter.h"

#include "model/template/access.h"
#include "model/template/error.h"
#include "model/template/format.h"
#include "model/template/functions.h"
#include "runtime/status.h"

namespace lynx::jinja {

Interpreter::ScopeGuard::ScopeGuard(Interpreter* interpreter, Scope* parent)
    : interpreter_(interpreter), previous_(interpreter->scope_), scope_(new Scope) {
  scope_->parent = parent;
  interpreter_->scope_ = scope_.get();
}

Interpreter::ScopeGuard::~ScopeGuard() {
  interpreter_->scope_ = previous_;
  if (scope_->pinned) interpreter_->pinned_.push_back(std::move(scope_));
}

absl::Status Interpreter::Enter() {
  if (depth_ >= ctx_.budget.limits().depth_max) return Error("the template nests too deeply");
  ++depth_;
  return ctx_.budget.Steps();
}

absl::StatusOr<Text> Interpreter::Run(const Block& block) {
  absl::StatusOr<Text> text = Capture(block);
  if (!text.ok()) return Error("line ", error_line_, ": ", std::string(text.status().message()));
  return text;
}

absl::Status Interpreter::Emit(const Text& text) {
  RETURN_IF_ERROR(ctx_.budget.Bytes(text.size()));
  if (text.size() > ctx_.budget.limits().output_bytes_max - out_->size()) {
    return Error("the rendered text is too long");
  }
  out_->Append(text);
  return absl::OkStatus();
}

absl::StatusOr<Text> Interpreter::Capture(const Block& block) {
  Text captured;
  Text* previous = std::exchange(out_, &captured);
  absl::StatusOr<Flow> flow = Execute(block);
  out_ = previous;
  RETURN_IF_ERROR(flow.status());
  return captured;
}

absl::StatusOr<Interpreter::Flow> Interpreter::Execute(const Block& block) {
  for (const StmtPtr& stmt : block) {
    RETURN_IF_ERROR(Enter());
    absl::StatusOr<Flow> flow = ExecuteOne(*stmt);
    --depth_;
    if (!flow.ok()) {
      if (error_line_ == 0) error_line_ = stmt->line;
      return flow;
    }
    if (*flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

absl::StatusOr<Interpreter::Flow> Interpreter::ExecuteOne(const Stmt& stmt) {
  switch (stmt.kind) {
    case StmtKind::kText:
      RETURN_IF_ERROR(Emit(Text(static_cast<const TextStmt&>(stmt).text)));
      return Flow::kNext;
    case StmtKind::kPrint: {
      ASSIGN_OR_RETURN(const Value v, Eval(*static_cast<const PrintStmt&>(stmt).expr));
      ASSIGN_OR_RETURN(const Text text, ToStr(v, ctx_.budget));
      RETURN_IF_ERROR(Emit(text));
      return Flow::kNext;
    }
    case StmtKind::kIf:
      return ExecuteIf(static_cast<const IfStmt&>(stmt));
    case StmtKind::kFor: {
      const auto& loop = static_cast<const ForStmt&>(stmt);
      ASSIGN_OR_RETURN(const Value iterable, Eval(*loop.iterable));
      ASSIGN_OR_RETURN(std::vector<Value> items, Items(ctx_, iterable));
      return ExecuteFor(loop, std::move(items), 0);
    }
    case StmtKind::kSet: {
      const auto& set = static_cast<const SetStmt&>(stmt);
      ASSIGN_OR_RETURN(const Value v, Eval(*set.value));
      RETURN_IF_ERROR(Assign(set.target, v));
      return Flow::kNext;
    }
    case StmtKind::kMacro: {
      const auto& macro = static_cast<const MacroStmt&>(stmt);
      ASSIGN_OR_RETURN(Value v, MakeMacro(macro));
      SetVariable(macro.name, std::move(v));
      return Flow::kNext;
    }
    case StmtKind::kSetBlock:
      RETURN_IF_ERROR(ExecuteSetBlock(static_cast<const SetBlockStmt&>(stmt)));
      return Flow::kNext;
    case StmtKind::kCallBlock:
      RETURN_IF_ERROR(ExecuteCallBlock(static_cast<const CallBlockStmt&>(stmt)));
      return Flow::kNext;
    case StmtKind::kFilterBlock:
      RETURN_IF_ERROR(ExecuteFilterBlock(static_cast<const FilterBlockStmt&>(stmt)));
      return Flow::kNext;
    case StmtKind::kWith:
      return ExecuteWith(static_cast<const WithStmt&>(stmt));
    case StmtKind::kScope:
      return ExecuteScoped(static_cast<const ScopeStmt&>(stmt).body);
    case StmtKind::kBreak:
      return Flow::kBreak;
    case StmtKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

absl::StatusOr<Interpreter::Flow> Interpreter::ExecuteIf(const IfStmt& stmt) {
  for (const auto& [condition, body] : stmt.branches) {
    ASSIGN_OR_RETURN(const Value v, Eval(*condition));
    if (v.Truth()) return Execute(body);
  }
  return Execute(stmt.otherwise);
}

absl::StatusOr<Interpreter::Flow> Interpreter::ExecuteScoped(const Block& block) {
  ScopeGuard guard(this, scope_);
  return Execute(block);
}

absl::Status Interpreter::ExecuteSetBlock(const SetBlockStmt& stmt) {
  Value v;
  {
    ScopeGuard guard(this, scope_);
    ASSIGN_OR_RETURN(Text text, Capture(stmt.body));
    v = Value(std::move(text));
    if (stmt.filter) {
      ASSIGN_OR_RETURN(v, EvalFilter(static_cast<const FilterExpr&>(*stmt.filter), &v));
    }
  }
  return Assign(stmt.target, v);
}

absl::Status Interpreter::ExecuteFilterBlock(const FilterBlockStmt& stmt) {
  ScopeGuard guard(this, scope_);
  ASSIGN_OR_RETURN(Text text, Capture(stmt.body));
  const Value block(std::move(text));
  ASSIGN_OR_RETURN(const Value v, EvalFilter(static_cast<const FilterExpr&>(*stmt.filter), &block));
  ASSIGN_OR_RETURN(const Text result, ToStr(v, ctx_.budget));
  return Emit(result);
}

absl::StatusOr<Interpreter::Flow> Interpreter::ExecuteWith(const WithStmt& stmt) {
  std::vector<Value> values;
  for (const auto& [target, e] : stmt.assignments) {
    ASSIGN_OR_RETURN(Value v, Eval(*e));
    values.push_back(std::move(v));
  }
  ScopeGuard guard(this, scope_);
  for (size_t i = 0; i < values.size(); ++i) {
    RETURN_IF_ERROR(Assign(stmt.assignments[i].first, values[i]));
  }
  return Execute(stmt.body);
}

absl::Status Interpreter::ExecuteCallBlock(const CallBlockStmt& stmt) {
  ASSIGN_OR_RETURN(const Value caller, MakeMacro(stmt.caller));
  ASSIGN_OR_RETURN(const Value v, EvalCall(static_cast<const CallExpr&>(*stmt.call), &caller));
  ASSIGN_OR_RETURN(const Text text, ToStr(v, ctx_.budget));
  return Emit(text);
}

absl::Status Interpreter::Assign(const Target& target, const Value& value) {
  if (target.is_tuple) {
    ASSIGN_OR_RETURN(const std::vector<Value> items, Items(ctx_, value));
    if (items.size() != target.items.size()) {
      return Error("cannot unpack ", items.size(), " values into ", target.items.size());
    }
    for (size_t i = 0; i < items.size(); ++i) RETURN_IF_ERROR(Assign(target.items[i], items[i]));
    return absl::OkStatus();
  }
  if (target.attribute.empty()) {
    SetVariable(target.name, value);
    return absl::OkStatus();
  }
  const Value base = Lookup(target.name);
  Object* object = base.AsObject();
  if (object == nullptr || object->kind != Object::Kind::kNamespace) {
    return Error("cannot assign attribute on non-namespace object");
  }
  static_cast<NamespaceObject*>(object)->attributes[target.attribute] = value;
  return absl::OkStatus();
}

void Interpreter::SetVariable(const std::string& name, Value value) {
  for (auto& [known, v] : scope_->variables) {
    if (known == name) {
      v = std::move(value);
      return;
    }
  }
  scope_->variables.emplace_back(name, std::move(value));
}

Value Interpreter::Lookup(const std::string& name) const {
  for (const Scope* s = scope_; s != nullptr; s = s->parent) {
    for (const auto& [known, v] : s->variables) {
      if (known == name) return v;
    }
  }
  auto it = variables_.find(name);
  if (it != variables_.end()) return it->second;
  if (Object* function = FindFunction(name)) return Value(function);
  return Value::Undef(Cat("'", name, "' is undefined"));
}

}  // namespace lynx::jinja
