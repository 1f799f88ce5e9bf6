#include "model/template/budget.h"
#include "model/template/error.h"
#include "model/template/filters.h"
#include "model/template/number.h"
#include "model/template/parser.h"
#include "model/template/predicates.h"
#include "runtime/status.h"

namespace lynx::jinja {
namespace {

// Records how deep `e` is and refuses what would exhaust the stack when it is evaluated.
absl::Status SetDepth(Expr* e, std::initializer_list<const Expr*> children) {
  for (const Expr* child : children) {
    if (child != nullptr) e->depth = std::max(e->depth, child->depth + 1);
  }
  if (e->depth > kSourceDepthMax) return Error("the expression is nested too deeply");
  return absl::OkStatus();
}

absl::Status SetDepth(Expr* e, const CallArgs& args) {
  for (const ExprPtr& a : args.positional) RETURN_IF_ERROR(SetDepth(e, {a.get()}));
  for (const auto& [name, a] : args.keyword) RETURN_IF_ERROR(SetDepth(e, {a.get()}));
  return SetDepth(e, {args.star.get(), args.double_star.get()});
}

absl::StatusOr<ExprPtr> Many(ExprKind kind, int line, std::vector<ExprPtr> items) {
  auto e = std::make_unique<ManyExpr>(kind, line);
  e->items = std::move(items);
  for (const ExprPtr& item : e->items) RETURN_IF_ERROR(SetDepth(e.get(), {item.get()}));
  return e;
}

const std::string* ConstantString(const Expr* e) {
  if (e->kind != ExprKind::kConst) return nullptr;
  const Text* t = static_cast<const ConstExpr*>(e)->value.AsText();
  return t == nullptr ? nullptr : &t->str();
}

}  // namespace

absl::StatusOr<ExprPtr> Parser::ParseExpr(bool conditional) {
  if (++nesting_ > kSourceDepthMax) return Error("the expression is nested too deeply");
  absl::StatusOr<ExprPtr> e = conditional ? ParseConditional() : ParseOr();
  --nesting_;
  return e;
}

absl::StatusOr<ExprPtr> Parser::ParseTuple(bool conditional, bool in_parentheses) {
  const int line = Peek().line;
  const auto at_end = [&] {
    const TokenType t = Peek().type;
    return t == TokenType::kVariableEnd || t == TokenType::kBlockEnd || IsOp(")") ||
           IsName("recursive");
  };
  std::vector<ExprPtr> items;
  bool is_tuple = false;
  while (!at_end()) {
    ASSIGN_OR_RETURN(ExprPtr item, ParseExpr(conditional));
    items.push_back(std::move(item));
    if (!SkipOp(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !items.empty()) return std::move(items[0]);
  if (items.empty() && !in_parentheses)
    return Error("expected an expression: ", std::string(Unexpected().message()));
  return Many(ExprKind::kTuple, line, std::move(items));
}

absl::StatusOr<ExprPtr> Parser::ParseConditional() {
  ASSIGN_OR_RETURN(ExprPtr e, ParseOr());
  while (IsName("if")) {
    const int line = Peek().line;
    ++pos_;
    std::vector<ExprPtr> items(3);
    items[0] = std::move(e);
    ASSIGN_OR_RETURN(items[1], ParseOr());
    if (SkipName("else")) {
      ASSIGN_OR_RETURN(items[2], ParseExpr());
    }
    ASSIGN_OR_RETURN(e, Many(ExprKind::kConditional, line, std::move(items)));
  }
  return e;
}

absl::StatusOr<ExprPtr> Parser::ParseOr() {
  ASSIGN_OR_RETURN(ExprPtr left, ParseAnd());
  while (IsName("or")) {
    const int line = Peek().line;
    ++pos_;
    std::vector<ExprPtr> items(2);
    items[0] = std::move(left);
    ASSIGN_OR_RETURN(items[1], ParseAnd());
    ASSIGN_OR_RETURN(left, Many(ExprKind::kOr, line, std::move(items)));
  }
  return left;
}

absl::StatusOr<ExprPtr> Parser::ParseAnd() {
  ASSIGN_OR_RETURN(ExprPtr left, ParseNot());
  while (IsName("and")) {
    const int line = Peek().line;
    ++pos_;
    std::vector<ExprPtr> items(2);
    items[0] = std::move(left);
    ASSIGN_OR_RETURN(items[1], ParseNot());
    ASSIGN_OR_RETURN(left, Many(ExprKind::kAnd, line, std::move(items)));
  }
  return left;
}

absl::StatusOr<ExprPtr> Parser::ParseNot() {
  if (!IsName("not")) return ParseCompare();
  const int line = Peek().line;
  ++pos_;
  if (++nesting_ > kSourceDepthMax) return Error("the expression is nested too deeply");
  std::vector<ExprPtr> items(1);
  ASSIGN_OR_RETURN(items[0], ParseNot());
  --nesting_;
  return Many(ExprKind::kNot, line, std::move(items));
}

absl::StatusOr<ExprPtr> Parser::ParseCompare() {
  static constexpr std::pair<std::string_view, CompareOp> kOps[] = {
      {"==", CompareOp::kEq}, {"!=", CompareOp::kNe}, {"<", CompareOp::kLt},
      {"<=", CompareOp::kLe}, {">", CompareOp::kGt},  {">=", CompareOp::kGe}};
  auto compare = std::make_unique<CompareExpr>(Peek().line);
  ASSIGN_OR_RETURN(compare->first, ParseSum());
  while (true) {
    CompareOp op;
    auto it =
        std::find_if(std::begin(kOps), std::end(kOps), [&](auto& o) { return IsOp(o.first); });
    if (it != std::end(kOps)) {
      op = it->second;
    } else if (IsName("in")) {
      op = CompareOp::kIn;
    } else if (IsName("not") && Peek(1).type == TokenType::kName && Peek(1).text == "in") {
      op = CompareOp::kNotIn;
      ++pos_;
    } else {
      break;
    }
    ++pos_;
    ASSIGN_OR_RETURN(ExprPtr right, ParseSum());
    compare->rest.emplace_back(op, std::move(right));
  }
  if (compare->rest.empty()) return std::move(compare->first);
  RETURN_IF_ERROR(SetDepth(compare.get(), {compare->first.get()}));
  for (const auto& [op, e] : compare->rest) RETURN_IF_ERROR(SetDepth(compare.get(), {e.get()}));
  return compare;
}

absl::StatusOr<ExprPtr> Parser::Binary(int line, BinaryOp op, ExprPtr left, ExprPtr right) {
  auto e = std::make_unique<BinaryExpr>(line, op, std::move(left), std::move(right));
  RETURN_IF_ERROR(SetDepth(e.get(), {e->left.get(), e->right.get()}));
  return e;
}

absl::StatusOr<ExprPtr> Parser::ParseSum() {
  ASSIGN_OR_RETURN(ExprPtr left, ParseConcat());
  while (IsOp("+") || IsOp("-")) {
    const int line = Peek().line;
    const BinaryOp op = IsOp("+") ? BinaryOp::kAdd : BinaryOp::kSub;
    ++pos_;
    ASSIGN_OR_RETURN(ExprPtr right, ParseConcat());
    ASSIGN_OR_RETURN(left, Binary(line, op, std::move(left), std::move(right)));
  }
  return left;
}

absl::StatusOr<ExprPtr> Parser::ParseConcat() {
  const int line = Peek().line;
  std::vector<ExprPtr> items(1);
  ASSIGN_OR_RETURN(items[0], ParseProduct());
  while (SkipOp("~")) {
    ASSIGN_OR_RETURN(ExprPtr next, ParseProduct());
    items.push_back(std::move(next));
  }
  if (items.size() == 1) return std::move(items[0]);
  return Many(ExprKind::kConcat, line, std::move(items));
}

absl::StatusOr<ExprPtr> Parser::ParseProduct() {
  ASSIGN_OR_RETURN(ExprPtr left, ParsePower());
  while (IsOp("*") || IsOp("/") || IsOp("//") || IsOp("%")) {
    const int line = Peek().line;
    const BinaryOp op = IsOp("*")    ? BinaryOp::kMul
                        : IsOp("/")  ? BinaryOp::kDiv
                        : IsOp("//") ? BinaryOp::kFloorDiv
                                     : BinaryOp::kMod;
    ++pos_;
    ASSIGN_OR_RETURN(ExprPtr right, ParsePower());
    ASSIGN_OR_RETURN(left, Binary(line, op, std::move(left), std::move(right)));
  }
  return left;
}

absl::StatusOr<ExprPtr> Parser::ParsePower() {
  ASSIGN_OR_RETURN(ExprPtr left, ParseUnary(true));
  while (IsOp("**")) {
    const int line = Peek().line;
    ++pos_;
    ASSIGN_OR_RETURN(ExprPtr right, ParseUnary(true));
    ASSIGN_OR_RETURN(left, Binary(line, BinaryOp::kPow, std::move(left), std::move(right)));
  }
  return left;
}

absl::StatusOr<ExprPtr> Parser::ParseUnary(bool with_filter) {
  const int line = Peek().line;
  ExprPtr node;
  if (IsOp("-") || IsOp("+")) {
    const bool negative = IsOp("-");
    ++pos_;
    if (++nesting_ > kSourceDepthMax) return Error("the expression is nested too deeply");
    ASSIGN_OR_RETURN(ExprPtr operand, ParseUnary(false));
    --nesting_;
    node = std::make_unique<UnaryExpr>(line, negative, std::move(operand));
    RETURN_IF_ERROR(SetDepth(node.get(), {static_cast<UnaryExpr*>(node.get())->operand.get()}));
  } else {
    ASSIGN_OR_RETURN(node, ParsePrimary());
  }
  ASSIGN_OR_RETURN(node, ParsePostfix(std::move(node)));
  if (!with_filter) return node;
  return ParseFilterChain(std::move(node));
}

absl::StatusOr<ExprPtr> Parser::ParsePrimary() {
  const Token& t = Peek();
  switch (t.type) {
    case TokenType::kName:
      return ParseNameOrConstant();
    case TokenType::kInteger:
    case TokenType::kFloat:
      return ParseNumber();
    case TokenType::kString: {
      std::string text;
      while (Peek().type == TokenType::kString) text += tokens_[pos_++].text;
      return std::make_unique<ConstExpr>(t.line, Value::Str(text));
    }
    default:
      break;
  }
  if (IsOp("[")) return ParseList();
  if (IsOp("{")) return ParseDict();
  if (!SkipOp("(")) return Unexpected();
  ASSIGN_OR_RETURN(ExprPtr e, ParseTuple(true, true));
  RETURN_IF_ERROR(ExpectOp(")"));
  return e;
}

absl::StatusOr<ExprPtr> Parser::ParseNameOrConstant() {
  const Token& t = tokens_[pos_++];
  if (t.text == "true" || t.text == "True") return std::make_unique<ConstExpr>(t.line, Value(true));
  if (t.text == "false" || t.text == "False") {
    return std::make_unique<ConstExpr>(t.line, Value(false));
  }
  if (t.text == "none" || t.text == "None") return std::make_unique<ConstExpr>(t.line, Value());
  for (MacroStmt* macro : macros_) {
    macro->uses_varargs |= t.text == "varargs";
    macro->uses_kwargs |= t.text == "kwargs";
    macro->uses_caller |= t.text == "caller";
  }
  return std::make_unique<NameExpr>(t.line, t.text);
}

absl::StatusOr<ExprPtr> Parser::ParseNumber() {
  const Token& t = Peek();
  if (t.type == TokenType::kFloat) {
    double d;
    if (!ParseFloat(t.text, &d)) return Error("the number '", t.text, "' is out of range");
    ++pos_;
    return std::make_unique<ConstExpr>(t.line, Value(d));
  }
  int64_t i;
  const char kind = t.text.size() > 1 ? static_cast<char>(t.text[1] | 0x20) : '\0';
  const int base = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 10;
  if (!ParseInt(t.text, base, &i) || (base == 10 && t.text[0] == '0' && i != 0)) {
    return Error("the number '", t.text, "' is malformed or beyond 64 bits");
  }
  ++pos_;
  return std::make_unique<ConstExpr>(t.line, Value(i));
}

absl::StatusOr<ExprPtr> Parser::ParseList() {
  const int line = Peek().line;
  ++pos_;
  std::vector<ExprPtr> items;
  while (!IsOp("]")) {
    if (!items.empty()) RETURN_IF_ERROR(ExpectOp(","));
    if (IsOp("]")) break;
    ASSIGN_OR_RETURN(ExprPtr item, ParseExpr());
    items.push_back(std::move(item));
  }
  ++pos_;
  return Many(ExprKind::kList, line, std::move(items));
}

absl::StatusOr<ExprPtr> Parser::ParseDict() {
  auto dict = std::make_unique<DictExpr>(Peek().line);
  ++pos_;
  while (!IsOp("}")) {
    if (!dict->entries.empty()) RETURN_IF_ERROR(ExpectOp(","));
    if (IsOp("}")) break;
    ASSIGN_OR_RETURN(ExprPtr key, ParseExpr());
    if (const std::string* name = ConstantString(key.get())) attributes_.insert(*name);
    RETURN_IF_ERROR(ExpectOp(":"));
    ASSIGN_OR_RETURN(ExprPtr value, ParseExpr());
    RETURN_IF_ERROR(SetDepth(dict.get(), {key.get(), value.get()}));
    dict->entries.emplace_back(std::move(key), std::move(value));
  }
  ++pos_;
  return dict;
}

absl::StatusOr<ExprPtr> Parser::ParsePostfix(ExprPtr node) {
  while (true) {
    if (IsOp(".") || IsOp("[")) {
      ASSIGN_OR_RETURN(node, ParseSubscript(std::move(node)));
    } else if (IsOp("(")) {
      ASSIGN_OR_RETURN(node, ParseCall(std::move(node)));
    } else {
      return node;
    }
  }
}

absl::StatusOr<ExprPtr> Parser::ParseFilterChain(ExprPtr node) {
  while (true) {
    if (SkipOp("|")) {
      ASSIGN_OR_RETURN(node, ParseFilter(std::move(node)));
    } else if (SkipName("is")) {
      ASSIGN_OR_RETURN(node, ParseTest(std::move(node)));
    } else if (IsOp("(")) {
      ASSIGN_OR_RETURN(node, ParseCall(std::move(node)));
    } else {
      return node;
    }
  }
}

absl::StatusOr<ExprPtr> Parser::ParseSubscript(ExprPtr node) {
  const int line = Peek().line;
  ExprPtr key;
  if (SkipOp(".")) {
    if (Peek().type == TokenType::kName) {
      auto e = std::make_unique<AttributeExpr>(line, std::move(node), tokens_[pos_++].text);
      RETURN_IF_ERROR(SetDepth(e.get(), {e->base.get()}));
      return e;
    }
    if (Peek().type != TokenType::kInteger) return Error("expected a name or a number after '.'");
    ASSIGN_OR_RETURN(key, ParseNumber());
  } else {
    ++pos_;
    ASSIGN_OR_RETURN(key, ParseSubscriptKey());
    if (IsOp(",")) return Error("a subscript of several keys is not supported");
    RETURN_IF_ERROR(ExpectOp("]"));
  }
  auto e = std::make_unique<ItemExpr>(line, std::move(node), std::move(key));
  RETURN_IF_ERROR(SetDepth(e.get(), {e->base.get(), e->key.get()}));
  return e;
}

absl::StatusOr<ExprPtr> Parser::ParseSubscriptKey() {
  auto slice = std::make_unique<SliceExpr>(Peek().line);
  if (!IsOp(":")) {
    ASSIGN_OR_RETURN(slice->start, ParseExpr());
    if (!IsOp(":")) return std::move(slice->start);
  }
  ++pos_;
  if (!IsOp(":") && !IsOp("]")) {
    ASSIGN_OR_RETURN(slice->stop, ParseExpr());
  }
  if (SkipOp(":") && !IsOp("]")) {
    ASSIGN_OR_RETURN(slice->step, ParseExpr());
  }
  RETURN_IF_ERROR(
      SetDepth(slice.get(), {slice->start.get(), slice->stop.get(), slice->step.get()}));
  return slice;
}

absl::Status Parser::ParseOneArg(CallArgs* args) {
  if (SkipOp("*")) {
    if (args->star || args->double_star) return Error("'*' stands in the wrong place of a call");
    ASSIGN_OR_RETURN(args->star, ParseExpr());
  } else if (SkipOp("**")) {
    if (args->double_star) return Error("'**' stands twice in a call");
    ASSIGN_OR_RETURN(args->double_star, ParseExpr());
  } else if (Peek().type == TokenType::kName && Peek(1).type == TokenType::kOperator &&
             Peek(1).text == "=") {
    if (args->double_star) return Error("an argument follows '**'");
    const std::string name = Peek().text;
    pos_ += 2;
    attributes_.insert(name);
    ASSIGN_OR_RETURN(ExprPtr value, ParseExpr());
    args->keyword.emplace_back(name, std::move(value));
  } else {
    if (args->star || args->double_star || !args->keyword.empty()) {
      return Error("a positional argument follows others");
    }
    ASSIGN_OR_RETURN(ExprPtr value, ParseExpr());
    args->positional.push_back(std::move(value));
  }
  return absl::OkStatus();
}

absl::StatusOr<CallArgs> Parser::ParseCallArgs() {
  RETURN_IF_ERROR(ExpectOp("("));
  CallArgs args;
  for (bool first = true; !IsOp(")"); first = false) {
    if (!first) RETURN_IF_ERROR(ExpectOp(","));
    if (IsOp(")")) break;
    RETURN_IF_ERROR(ParseOneArg(&args));
  }
  ++pos_;
  return args;
}

absl::StatusOr<ExprPtr> Parser::ParseCall(ExprPtr node) {
  const int line = Peek().line;
  if (node->kind == ExprKind::kName) {
    called_.push_back({static_cast<NameExpr*>(node.get())->name, false, line});
  } else if (node->kind == ExprKind::kAttribute) {
    called_.push_back({static_cast<AttributeExpr*>(node.get())->name, true, line});
  }
  auto call = std::make_unique<CallExpr>(line, std::move(node));
  ASSIGN_OR_RETURN(call->args, ParseCallArgs());
  RETURN_IF_ERROR(SetDepth(call.get(), {call->callee.get()}));
  RETURN_IF_ERROR(SetDepth(call.get(), call->args));
  return call;
}

// A null `node` is the head of a filter block's chain.
absl::StatusOr<ExprPtr> Parser::ParseFilter(ExprPtr node) {
  auto e = std::make_unique<FilterExpr>(Peek().line);
  ASSIGN_OR_RETURN(const std::string name, ExpectName());
  e->filter = FindFilter(name);
  if (e->filter == nullptr || IsOp(".")) return Error("unknown filter '", name, "'");
  e->input = std::move(node);
  if (IsOp("(")) {
    ASSIGN_OR_RETURN(e->args, ParseCallArgs());
  }
  RETURN_IF_ERROR(CheckNamedArguments(*e));
  RETURN_IF_ERROR(SetDepth(e.get(), {e->input.get()}));
  RETURN_IF_ERROR(SetDepth(e.get(), e->args));
  return e;
}

absl::StatusOr<ExprPtr> Parser::ParseTest(ExprPtr node) {
  const bool negated = SkipName("not");
  auto e = std::make_unique<TestExpr>(Peek().line);
  ASSIGN_OR_RETURN(const std::string name, ExpectName());
  e->test = FindTest(name);
  if (e->test == nullptr || IsOp(".")) return Error("unknown test '", name, "'");
  e->input = std::move(node);
  const TokenType t = Peek().type;
  if (IsName("is")) return Error("tests cannot be chained with 'is'");
  if (IsOp("(")) {
    ASSIGN_OR_RETURN(e->args, ParseCallArgs());
  } else if (t == TokenType::kString || t == TokenType::kInteger || t == TokenType::kFloat ||
             IsOp("[") || IsOp("{") ||
             (t == TokenType::kName && !IsName("else") && !IsName("or") && !IsName("and"))) {
    ASSIGN_OR_RETURN(ExprPtr arg, ParsePrimary());
    ASSIGN_OR_RETURN(arg, ParsePostfix(std::move(arg)));
    e->args.positional.push_back(std::move(arg));
  }
  RETURN_IF_ERROR(SetDepth(e.get(), {e->input.get()}));
  RETURN_IF_ERROR(SetDepth(e.get(), e->args));
  if (!negated) return e;
  const int line = e->line;
  std::vector<ExprPtr> items(1);
  items[0] = std::move(e);
  return Many(ExprKind::kNot, line, std::move(items));
}

absl::Status Parser::CheckNamedArguments(const FilterExpr& filter) const {
  const std::string_view name = filter.filter->name;
  const bool selects_attribute = name == "selectattr" || name == "rejectattr";
  const size_t index = selects_attribute ? 1 : 0;
  if (filter.args.positional.size() <= index) return absl::OkStatus();
  const std::string* named = ConstantString(filter.args.positional[index].get());
  if (named == nullptr) return absl::OkStatus();
  if (name == "map" && FindFilter(*named) == nullptr) return Error("unknown filter '", *named, "'");
  if ((selects_attribute || name == "select" || name == "reject") && FindTest(*named) == nullptr) {
    return Error("unknown test '", *named, "'");
  }
  return absl::OkStatus();
}

}  // namespace lynx::jinja
