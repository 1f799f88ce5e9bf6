// Visits every node of a syntax tree.
#pragma once

#include <functional>

#include "model/template/ast.h"

namespace lynx::jinja {

struct Visitor {
  std::function<void(const Stmt&)> stmt;
  std::function<void(const Expr&)> expr;
};
// A node comes before what it contains. Statements come in source order.
void Walk(const Block& block, const Visitor& visitor);

}  // namespace lynx::jinja
