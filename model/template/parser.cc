#include "model/template/parser.h"

#include "model/template/budget.h"
#include "model/template/error.h"
#include "model/template/functions.h"
#include "model/template/methods.h"
#include "runtime/status.h"

namespace lynx::jinja {

absl::StatusOr<Block> ParseTemplate(std::string_view source) {
  ASSIGN_OR_RETURN(std::vector<Token> tokens, Tokenize(source));
  return Parser(std::move(tokens)).Run();
}

absl::StatusOr<Block> Parser::Run() {
  absl::StatusOr<Block> block = ParseBlock({});
  if (!block.ok()) return Error("line ", Peek().line, ": ", std::string(block.status().message()));
  RETURN_IF_ERROR(CheckCalls());
  return block;
}

absl::Status Parser::Unexpected() const {
  const Token& t = Peek();
  switch (t.type) {
    case TokenType::kEnd:
      return Error("unexpected end of template");
    case TokenType::kBlockEnd:
    case TokenType::kVariableEnd:
      return Error("unexpected end of tag");
    default:
      return Error("unexpected '", t.text, "'");
  }
}

absl::Status Parser::ExpectOp(std::string_view op) {
  return SkipOp(op) ? absl::OkStatus()
                    : Error("expected '", op, "': ", std::string(Unexpected().message()));
}

absl::Status Parser::Expect(TokenType type, std::string_view what) {
  if (Peek().type != type)
    return Error("expected ", what, ": ", std::string(Unexpected().message()));
  ++pos_;
  return absl::OkStatus();
}

absl::StatusOr<std::string> Parser::ExpectName() {
  if (Peek().type != TokenType::kName)
    return Error("expected a name: ", std::string(Unexpected().message()));
  return tokens_[pos_++].text;
}

// Statements up to a tag named in `ends`, whose name is then the next token; with no `ends`, up to
// the end of the template.
absl::StatusOr<Block> Parser::ParseBlock(const std::vector<std::string_view>& ends) {
  if (++nesting_ > kSourceDepthMax) return Error("blocks are nested too deeply");
  Block block;
  while (Peek().type != TokenType::kEnd) {
    const Token& t = Peek();
    if (t.type == TokenType::kData) {
      block.push_back(std::make_unique<TextStmt>(t.line, t.text));
      ++pos_;
    } else if (t.type == TokenType::kVariableBegin) {
      ASSIGN_OR_RETURN(StmtPtr stmt, ParsePrint());
      block.push_back(std::move(stmt));
    } else {
      ++pos_;
      if (std::any_of(ends.begin(), ends.end(), [&](std::string_view e) { return IsName(e); })) {
        --nesting_;
        return block;
      }
      ASSIGN_OR_RETURN(StmtPtr stmt, ParseStatement());
      block.push_back(std::move(stmt));
      RETURN_IF_ERROR(EndTag());
    }
  }
  --nesting_;
  if (!ends.empty()) return Error("unexpected end of template, expected '", ends.back(), "'");
  return block;
}

absl::Status Parser::EndTag() { return Expect(TokenType::kBlockEnd, "the end of the tag"); }

absl::StatusOr<Block> Parser::ParseBody(const std::vector<std::string_view>& ends) {
  SkipOp(":");
  RETURN_IF_ERROR(EndTag());
  return ParseBlock(ends);
}

// A body whose text is kept apart: 'break' cannot leave it.
absl::StatusOr<Block> Parser::ParseCaptured(std::string_view end) {
  const int loops = std::exchange(loops_, 0);
  ASSIGN_OR_RETURN(Block body, ParseBody({end}));
  loops_ = loops;
  return body;
}

absl::StatusOr<StmtPtr> Parser::ParsePrint() {
  const int line = Peek().line;
  ++pos_;
  ASSIGN_OR_RETURN(ExprPtr expr, ParseTuple(true, false));
  RETURN_IF_ERROR(Expect(TokenType::kVariableEnd, "'}}'"));
  return std::make_unique<PrintStmt>(line, std::move(expr));
}

absl::StatusOr<StmtPtr> Parser::ParseStatement() {
  const int line = Peek().line;
  if (Peek().type != TokenType::kName) return Error("expected a tag name");
  const std::string tag = Peek().text;
  ++pos_;
  if (tag == "if") return ParseIf(line);
  if (tag == "for") return ParseFor(line);
  if (tag == "set") return ParseSet(line);
  if (tag == "macro") return ParseMacro(line);
  if (tag == "call") return ParseCallBlock(line);
  if (tag == "filter") return ParseFilterBlock(line);
  if (tag == "with") return ParseWith(line);
  if (tag == "generation") return ParseGeneration(line);
  if (tag == "break") return ParseLoopControl(StmtKind::kBreak, line);
  if (tag == "continue") return ParseLoopControl(StmtKind::kContinue, line);
  --pos_;
  return Error("the tag '", tag, "' is not supported here");
}

absl::StatusOr<StmtPtr> Parser::ParseIf(int line) {
  auto stmt = std::make_unique<IfStmt>(line);
  while (true) {
    ASSIGN_OR_RETURN(ExprPtr condition, ParseTuple(false, false));
    ASSIGN_OR_RETURN(Block body, ParseBody({"elif", "else", "endif"}));
    stmt->branches.emplace_back(std::move(condition), std::move(body));
    if (!SkipName("elif")) break;
  }
  if (SkipName("else")) {
    ASSIGN_OR_RETURN(stmt->otherwise, ParseBody({"endif"}));
  }
  ++pos_;
  return stmt;
}

absl::StatusOr<StmtPtr> Parser::ParseFor(int line) {
  auto stmt = std::make_unique<ForStmt>(line);
  ASSIGN_OR_RETURN(stmt->target, ParseTarget(false));
  if (!SkipName("in")) return Error("expected 'in'");
  ASSIGN_OR_RETURN(stmt->iterable, ParseTuple(false, false));
  if (SkipName("if")) {
    ASSIGN_OR_RETURN(stmt->condition, ParseExpr());
  }
  stmt->recursive = SkipName("recursive");
  ++loops_;
  ASSIGN_OR_RETURN(stmt->body, ParseBody({"else", "endfor"}));
  --loops_;
  if (SkipName("else")) {
    ASSIGN_OR_RETURN(stmt->otherwise, ParseBody({"endfor"}));
  }
  ++pos_;
  return stmt;
}

absl::StatusOr<StmtPtr> Parser::ParseSet(int line) {
  ASSIGN_OR_RETURN(Target target, ParseTarget(true));
  if (SkipOp("=")) {
    auto stmt = std::make_unique<SetStmt>(line);
    stmt->target = std::move(target);
    ASSIGN_OR_RETURN(stmt->value, ParseTuple(true, false));
    return stmt;
  }
  auto stmt = std::make_unique<SetBlockStmt>(line);
  stmt->target = std::move(target);
  while (SkipOp("|")) {
    ASSIGN_OR_RETURN(stmt->filter, ParseFilter(std::move(stmt->filter)));
  }
  ASSIGN_OR_RETURN(stmt->body, ParseCaptured("endset"));
  ++pos_;
  return stmt;
}

absl::Status Parser::ParseSignature(MacroStmt* macro) {
  RETURN_IF_ERROR(ExpectOp("("));
  while (!IsOp(")")) {
    if (!macro->params.empty()) RETURN_IF_ERROR(ExpectOp(","));
    Param param;
    ASSIGN_OR_RETURN(param.name, ExpectName());
    assigned_.insert(param.name);
    if (SkipOp("=")) {
      ASSIGN_OR_RETURN(param.default_value, ParseExpr());
    } else if (!macro->params.empty() && macro->params.back().default_value != nullptr) {
      return Error("a parameter without a default follows one with a default");
    }
    macro->params.push_back(std::move(param));
  }
  ++pos_;
  return absl::OkStatus();
}

absl::Status Parser::ParseMacroBody(MacroStmt* macro, std::string_view end) {
  macros_.push_back(macro);
  ASSIGN_OR_RETURN(macro->body, ParseCaptured(end));
  macros_.pop_back();
  ++pos_;
  return absl::OkStatus();
}

absl::StatusOr<StmtPtr> Parser::ParseMacro(int line) {
  auto stmt = std::make_unique<MacroStmt>(line);
  ASSIGN_OR_RETURN(stmt->name, ExpectName());
  assigned_.insert(stmt->name);
  RETURN_IF_ERROR(ParseSignature(stmt.get()));
  RETURN_IF_ERROR(ParseMacroBody(stmt.get(), "endmacro"));
  return stmt;
}

absl::StatusOr<StmtPtr> Parser::ParseCallBlock(int line) {
  auto stmt = std::make_unique<CallBlockStmt>(line);
  stmt->caller.name = "caller";
  if (IsOp("(")) RETURN_IF_ERROR(ParseSignature(&stmt->caller));
  ASSIGN_OR_RETURN(stmt->call, ParseExpr());
  if (stmt->call->kind != ExprKind::kCall) return Error("expected a call");
  RETURN_IF_ERROR(ParseMacroBody(&stmt->caller, "endcall"));
  return stmt;
}

absl::StatusOr<StmtPtr> Parser::ParseFilterBlock(int line) {
  auto stmt = std::make_unique<FilterBlockStmt>(line);
  do {
    ASSIGN_OR_RETURN(stmt->filter, ParseFilter(std::move(stmt->filter)));
  } while (SkipOp("|"));
  ASSIGN_OR_RETURN(stmt->body, ParseCaptured("endfilter"));
  ++pos_;
  return stmt;
}

absl::StatusOr<StmtPtr> Parser::ParseWith(int line) {
  auto stmt = std::make_unique<WithStmt>(line);
  while (Peek().type != TokenType::kBlockEnd) {
    if (!stmt->assignments.empty()) RETURN_IF_ERROR(ExpectOp(","));
    ASSIGN_OR_RETURN(Target target, ParseOneTarget(false));
    RETURN_IF_ERROR(ExpectOp("="));
    ASSIGN_OR_RETURN(ExprPtr value, ParseExpr());
    stmt->assignments.emplace_back(std::move(target), std::move(value));
  }
  ASSIGN_OR_RETURN(stmt->body, ParseBody({"endwith"}));
  ++pos_;
  return stmt;
}

absl::StatusOr<StmtPtr> Parser::ParseGeneration(int line) {
  auto stmt = std::make_unique<ScopeStmt>(line);
  ASSIGN_OR_RETURN(stmt->body, ParseCaptured("endgeneration"));
  ++pos_;
  return stmt;
}

absl::StatusOr<StmtPtr> Parser::ParseLoopControl(StmtKind kind, int line) {
  if (loops_ == 0) return Error("'break' and 'continue' need a loop around them");
  return std::make_unique<PlainStmt>(kind, line);
}

absl::StatusOr<Target> Parser::ParseOneTarget(bool with_attribute) {
  Target target;
  if (SkipOp("(")) {
    ASSIGN_OR_RETURN(target, ParseTarget(with_attribute));
    RETURN_IF_ERROR(ExpectOp(")"));
    return target;
  }
  ASSIGN_OR_RETURN(target.name, ExpectName());
  if (with_attribute && SkipOp(".")) {
    ASSIGN_OR_RETURN(target.attribute, ExpectName());
    attributes_.insert(target.attribute);
    return target;
  }
  static constexpr std::string_view kReserved[] = {"true", "false", "none",
                                                   "True", "False", "None"};
  if (std::find(std::begin(kReserved), std::end(kReserved), target.name) != std::end(kReserved)) {
    return Error("cannot assign to '", target.name, "'");
  }
  assigned_.insert(target.name);
  return target;
}

absl::StatusOr<Target> Parser::ParseTarget(bool with_attribute) {
  if (++nesting_ > kSourceDepthMax) return Error("the target is nested too deeply");
  ASSIGN_OR_RETURN(Target first, ParseOneTarget(with_attribute));
  --nesting_;
  if (!IsOp(",")) return first;
  Target tuple;
  tuple.is_tuple = true;
  tuple.items.push_back(std::move(first));
  while (SkipOp(",")) {
    if (Peek().type != TokenType::kName && !IsOp("(")) break;
    if (IsName("in")) break;
    ASSIGN_OR_RETURN(Target next, ParseOneTarget(with_attribute));
    tuple.items.push_back(std::move(next));
  }
  return tuple;
}

absl::Status Parser::CheckCalls() const {
  static constexpr std::string_view kObjectMethods[] = {"cycle", "changed", "next", "reset"};
  for (const Called& call : called_) {
    const bool known = call.method
                           ? IsMethodName(call.name) || attributes_.contains(call.name) ||
                                 std::find(std::begin(kObjectMethods), std::end(kObjectMethods),
                                           call.name) != std::end(kObjectMethods)
                           : IsGlobalName(call.name) || assigned_.contains(call.name) ||
                                 call.name == "loop" || call.name == "caller";
    if (known) continue;
    return Error("line ", call.line, ": unknown ", call.method ? "method" : "function", " '",
                 call.name, "'");
  }
  return absl::OkStatus();
}

}  // namespace lynx::jinja
