// The `loop` variable. Items are fetched one ahead only where a template asks for what follows, so
// that a loop's condition sees what the passes before it have set.
#pragma once

#include <optional>

#include "model/template/interpreter.h"

namespace lynx::jinja {

struct LoopObject : Object {
  LoopObject(Interpreter* i, const ForStmt* s, Scope* sc, std::vector<Value> items, int d)
      : Object(Kind::kLoop),
        interpreter(i),
        stmt(s),
        scope(sc),
        source(std::move(items)),
        depth0(d) {}

  // Steps to the next item that passes the condition; false: there is none.
  absl::StatusOr<bool> Next();
  // loop.<name>; false: no such attribute.
  absl::StatusOr<bool> Attribute(std::string_view name, Value* out);
  absl::StatusOr<Value> Cycle(const Args& args) const;
  absl::StatusOr<Value> Changed(Context& ctx, const Args& args);

  Interpreter* interpreter;
  const ForStmt* stmt;
  Scope* scope;  // around the loop
  std::vector<Value> source;
  size_t source_next = 0;
  std::vector<Value> ahead;  // items that passed, fetched before their time
  size_t ahead_next = 0;
  Value previous = Value::Undef("there is no previous item"), current;
  int64_t index0 = -1;
  int depth0;
  std::optional<std::vector<Value>> last_seen;  // of loop.changed

 private:
  absl::StatusOr<bool> Fetch(Value* out);
  absl::StatusOr<bool> HasNext();
  absl::StatusOr<int64_t> Length();
};

}  // namespace lynx::jinja
