#include "model/template/loop.h"

#include "model/template/access.h"
#include "model/template/error.h"
#include "model/template/operators.h"
#include "runtime/status.h"

namespace lynx::jinja {

absl::StatusOr<bool> LoopObject::Fetch(Value* out) {
  while (source_next < source.size()) {
    *out = source[source_next++];
    if (stmt->condition == nullptr) return true;
    Interpreter::ScopeGuard guard(interpreter, scope);
    interpreter->SetVariable("loop", Value::Undef("'loop' is undefined"));
    RETURN_IF_ERROR(interpreter->Assign(stmt->target, *out));
    ASSIGN_OR_RETURN(const Value passes, interpreter->Eval(*stmt->condition));
    if (passes.Truth()) return true;
  }
  return false;
}

absl::StatusOr<bool> LoopObject::HasNext() {
  if (ahead_next < ahead.size()) return true;
  Value v;
  ASSIGN_OR_RETURN(const bool more, Fetch(&v));
  if (more) ahead.push_back(std::move(v));
  return more;
}

absl::StatusOr<bool> LoopObject::Next() {
  ASSIGN_OR_RETURN(const bool more, HasNext());
  if (!more) return false;
  if (index0 >= 0) previous = std::move(current);
  current = std::move(ahead[ahead_next++]);
  if (ahead_next == ahead.size()) {
    ahead.clear();
    ahead_next = 0;
  }
  ++index0;
  return true;
}

absl::StatusOr<int64_t> LoopObject::Length() {
  if (stmt->condition == nullptr) return static_cast<int64_t>(source.size());
  Value v;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, Fetch(&v));
    if (!more) break;
    ahead.push_back(std::move(v));
  }
  return index0 + 1 + static_cast<int64_t>(ahead.size() - ahead_next);
}

absl::StatusOr<bool> LoopObject::Attribute(std::string_view name, Value* out) {
  if (name == "index")
    *out = Value(index0 + 1);
  else if (name == "index0")
    *out = Value(index0);
  else if (name == "first")
    *out = Value(index0 == 0);
  else if (name == "depth")
    *out = Value(int64_t{depth0} + 1);
  else if (name == "depth0")
    *out = Value(int64_t{depth0});
  else if (name == "previtem")
    *out = previous;
  else if (name == "last" || name == "nextitem") {
    ASSIGN_OR_RETURN(const bool more, HasNext());
    if (name == "last")
      *out = Value(!more);
    else
      *out = more ? ahead[ahead_next] : Value::Undef("there is no next item");
  } else if (name == "length" || name == "revindex" || name == "revindex0") {
    ASSIGN_OR_RETURN(const int64_t length, Length());
    *out = Value(name == "length" ? length : length - index0 - (name == "revindex0" ? 1 : 0));
  } else {
    return false;
  }
  return true;
}

absl::StatusOr<Value> LoopObject::Cycle(const Args& args) const {
  if (args.positional.empty()) return Error("no items for cycling given");
  return args.positional[static_cast<size_t>(index0) % args.positional.size()];
}

absl::StatusOr<Value> LoopObject::Changed(Context& ctx, const Args& args) {
  bool same = last_seen.has_value() && last_seen->size() == args.positional.size();
  for (size_t i = 0; same && i < args.positional.size(); ++i) {
    ASSIGN_OR_RETURN(same, Equal(ctx, (*last_seen)[i], args.positional[i]));
  }
  last_seen = args.positional;
  return Value(!same);
}

absl::StatusOr<Interpreter::Flow> Interpreter::ExecuteFor(const ForStmt& stmt,
                                                          std::vector<Value> items, int depth0) {
  ASSIGN_OR_RETURN(LoopObject * loop,
                   ctx_.New<LoopObject>(this, &stmt, scope_, std::move(items), depth0));
  absl::StatusOr<Flow> flow = RunPasses(stmt, loop);
  // The object stays in the arena, since a namespace may hold it; what is large in it goes.
  loop->source.clear();
  loop->source.shrink_to_fit();
  loop->ahead.clear();
  loop->ahead_next = 0;
  RETURN_IF_ERROR(flow.status());
  if (loop->index0 >= 0) return Flow::kNext;
  return ExecuteScoped(stmt.otherwise);
}

absl::StatusOr<Interpreter::Flow> Interpreter::RunPasses(const ForStmt& stmt, LoopObject* loop) {
  while (true) {
    ASSIGN_OR_RETURN(const bool more, loop->Next());
    if (!more) return Flow::kNext;
    ScopeGuard guard(this, loop->scope);
    SetVariable("loop", Value(loop));
    RETURN_IF_ERROR(Assign(stmt.target, loop->current));
    ASSIGN_OR_RETURN(const Flow flow, Execute(stmt.body));
    if (flow == Flow::kBreak) return Flow::kNext;
  }
}

absl::StatusOr<Value> Interpreter::CallLoop(LoopObject* loop, const Args& args) {
  if (!loop->stmt->recursive) return Error("the loop is not marked 'recursive'");
  if (args.positional.size() != 1 || !args.keyword.empty())
    return Error("loop() takes one argument");
  ASSIGN_OR_RETURN(std::vector<Value> items, Items(ctx_, args.positional[0]));
  Text captured;
  Text* previous = std::exchange(out_, &captured);
  Scope* inner = std::exchange(scope_, loop->scope);
  absl::StatusOr<Flow> flow = ExecuteFor(*loop->stmt, std::move(items), loop->depth0 + 1);
  scope_ = inner;
  out_ = previous;
  RETURN_IF_ERROR(flow.status());
  return Value(std::move(captured));
}

}  // namespace lynx::jinja
