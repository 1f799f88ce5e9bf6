// Builds the syntax tree and refuses what it does not know: unknown tags, filters, tests, functions
// and methods are errors here, wherever the source shows them.
#pragma once

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/template/ast.h"
#include "model/template/lexer.h"

namespace lynx::jinja {

// Errors name the line.
absl::StatusOr<Block> ParseTemplate(std::string_view source);

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}
  absl::StatusOr<Block> Run();

 private:
  // parser.cc: statements
  absl::StatusOr<Block> ParseBlock(const std::vector<std::string_view>& ends);
  absl::StatusOr<Block> ParseBody(const std::vector<std::string_view>& ends);
  absl::StatusOr<Block> ParseCaptured(std::string_view end);
  absl::StatusOr<StmtPtr> ParsePrint();
  absl::StatusOr<StmtPtr> ParseStatement();
  absl::StatusOr<StmtPtr> ParseIf(int line);
  absl::StatusOr<StmtPtr> ParseFor(int line);
  absl::StatusOr<StmtPtr> ParseSet(int line);
  absl::StatusOr<StmtPtr> ParseMacro(int line);
  absl::StatusOr<StmtPtr> ParseCallBlock(int line);
  absl::StatusOr<StmtPtr> ParseFilterBlock(int line);
  absl::StatusOr<StmtPtr> ParseWith(int line);
  absl::StatusOr<StmtPtr> ParseGeneration(int line);
  absl::StatusOr<StmtPtr> ParseLoopControl(StmtKind kind, int line);
  absl::Status ParseSignature(MacroStmt* macro);
  absl::Status ParseMacroBody(MacroStmt* macro, std::string_view end);
  absl::Status EndTag();
  absl::StatusOr<Target> ParseTarget(bool with_attribute);
  absl::StatusOr<Target> ParseOneTarget(bool with_attribute);

  // parser_expr.cc: expressions
  absl::StatusOr<ExprPtr> ParseTuple(bool conditional, bool in_parentheses);
  absl::StatusOr<ExprPtr> ParseExpr(bool conditional = true);
  absl::StatusOr<ExprPtr> ParseConditional();
  absl::StatusOr<ExprPtr> ParseOr();
  absl::StatusOr<ExprPtr> ParseAnd();
  absl::StatusOr<ExprPtr> ParseNot();
  absl::StatusOr<ExprPtr> ParseCompare();
  absl::StatusOr<ExprPtr> ParseSum();
  absl::StatusOr<ExprPtr> ParseConcat();
  absl::StatusOr<ExprPtr> ParseProduct();
  absl::StatusOr<ExprPtr> ParsePower();
  absl::StatusOr<ExprPtr> ParseUnary(bool with_filter);
  absl::StatusOr<ExprPtr> ParsePrimary();
  absl::StatusOr<ExprPtr> ParseNameOrConstant();
  absl::StatusOr<ExprPtr> ParseNumber();
  absl::StatusOr<ExprPtr> ParseList();
  absl::StatusOr<ExprPtr> ParseDict();
  absl::StatusOr<ExprPtr> ParsePostfix(ExprPtr node);
  absl::StatusOr<ExprPtr> ParseFilterChain(ExprPtr node);
  absl::StatusOr<ExprPtr> ParseSubscript(ExprPtr node);
  absl::StatusOr<ExprPtr> ParseSubscriptKey();
  absl::StatusOr<ExprPtr> ParseCall(ExprPtr node);
  absl::StatusOr<ExprPtr> ParseFilter(ExprPtr node);
  absl::StatusOr<ExprPtr> ParseTest(ExprPtr node);
  absl::StatusOr<CallArgs> ParseCallArgs();
  absl::Status ParseOneArg(CallArgs* args);
  absl::StatusOr<ExprPtr> Binary(int line, BinaryOp op, ExprPtr left, ExprPtr right);

  // Names that a map, select or selectattr filter looks up when it runs.
  absl::Status CheckNamedArguments(const FilterExpr& filter) const;
  absl::Status CheckCalls() const;

  const Token& Peek(size_t ahead = 0) const {
    return tokens_[std::min(pos_ + ahead, tokens_.size() - 1)];
  }
  bool IsOp(std::string_view op) const {
    return Peek().type == TokenType::kOperator && Peek().text == op;
  }
  bool IsName(std::string_view name) const {
    return Peek().type == TokenType::kName && Peek().text == name;
  }
  bool SkipOp(std::string_view op) { return IsOp(op) && (++pos_, true); }
  bool SkipName(std::string_view name) { return IsName(name) && (++pos_, true); }
  absl::Status ExpectOp(std::string_view op);
  absl::Status Expect(TokenType type, std::string_view what);
  absl::StatusOr<std::string> ExpectName();
  absl::Status Unexpected() const;

  struct Called {
    std::string name;
    bool method;
    int line;
  };

  std::vector<Token> tokens_;
  size_t pos_ = 0;
  int nesting_ = 0;  // of expressions and blocks
  int loops_ = 0;
  std::vector<MacroStmt*> macros_;
  std::set<std::string, std::less<>> assigned_;    // variables
  std::set<std::string, std::less<>> attributes_;  // names that a namespace or dict may hold
  std::vector<Called> called_;
};

}  // namespace lynx::jinja
