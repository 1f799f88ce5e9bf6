#include <algorithm>

#include "model/template/error.h"
#include "model/template/interpreter.h"
#include "runtime/status.h"

namespace lynx::jinja {

absl::StatusOr<Value> Interpreter::MakeMacro(const MacroStmt& macro) {
  for (Scope* s = scope_; s != nullptr && !s->pinned; s = s->parent) s->pinned = true;
  ASSIGN_OR_RETURN(MacroObject * object, ctx_.New<MacroObject>(&macro, scope_));
  return Value(object);
}

absl::StatusOr<Value> Interpreter::CallMacro(const MacroObject& object, Args args) {
  ScopeGuard guard(this, object.scope);
  RETURN_IF_ERROR(BindParams(*object.macro, &args));
  ASSIGN_OR_RETURN(Text text, Capture(object.macro->body));
  return Value(std::move(text));
}

// Sets the macro's parameters in the innermost scope, defaults in order, as they may refer to the
// parameters before them.
absl::Status Interpreter::BindParams(const MacroStmt& macro, Args* args) {
  const auto take = [&](const std::string& name, Value* out) {
    auto it = std::find_if(args->keyword.begin(), args->keyword.end(),
                           [&](const auto& kw) { return kw.first == name; });
    if (it == args->keyword.end()) return false;
    *out = std::move(it->second);
    args->keyword.erase(it);
    return true;
  };
  for (size_t i = 0; i < macro.params.size(); ++i) {
    const Param& param = macro.params[i];
    Value v;
    const bool named = take(param.name, &v);
    if (i < args->positional.size()) {
      if (named) return Error("macro '", macro.name, "' got '", param.name, "' twice");
      v = args->positional[i];
    } else if (!named && param.default_value != nullptr) {
      ASSIGN_OR_RETURN(v, Eval(*param.default_value));
    } else if (!named) {
      v = Value::Undef(Cat("parameter '", param.name, "' was not provided"));
    }
    SetVariable(param.name, std::move(v));
  }
  if (macro.uses_caller) {
    Value caller = Value::Undef("No caller defined");
    take("caller", &caller);
    SetVariable("caller", std::move(caller));
  }
  std::vector<Value> extra;
  for (size_t i = macro.params.size(); i < args->positional.size(); ++i) {
    extra.push_back(args->positional[i]);
  }
  if (!macro.uses_varargs && !extra.empty()) {
    return Error("macro '", macro.name, "' takes not more than ", macro.params.size(),
                 " arguments");
  }
  if (!macro.uses_kwargs && !args->keyword.empty()) {
    return Error("macro '", macro.name, "' takes no argument '", args->keyword[0].first, "'");
  }
  ASSIGN_OR_RETURN(Value varargs, Value::Seq(SequenceKind::kTuple, std::move(extra)));
  if (macro.uses_varargs) SetVariable("varargs", std::move(varargs));
  if (!macro.uses_kwargs) return absl::OkStatus();
  std::vector<Dict::Entry> entries;
  for (auto& [name, v] : args->keyword) entries.push_back({Value::Str(name), std::move(v)});
  ASSIGN_OR_RETURN(Value kwargs, Dict::Make(std::move(entries)));
  SetVariable("kwargs", std::move(kwargs));
  return absl::OkStatus();
}

}  // namespace lynx::jinja
