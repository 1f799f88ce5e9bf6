#include "model/template/content.h"

#include <set>

#include "model/template/ast_walk.h"
#include "model/template/error.h"
#include "model/template/predicates.h"
#include "runtime/status.h"

namespace lynx::jinja {
namespace {

using Json = nlohmann::ordered_json;
using Names = std::set<std::string, std::less<>>;

// Whether `e` is `<x>.content`, `<x>['content']` or a variable that was set from one.
bool IsContent(const Expr& e, const Names& aliases) {
  switch (e.kind) {
    case ExprKind::kAttribute:
      return static_cast<const AttributeExpr&>(e).name == "content";
    case ExprKind::kName:
      return aliases.contains(static_cast<const NameExpr&>(e).name);
    case ExprKind::kFilter: {
      const Expr* input = static_cast<const FilterExpr&>(e).input.get();
      return input != nullptr && IsContent(*input, aliases);
    }
    case ExprKind::kItem: {
      const Expr& key = *static_cast<const ItemExpr&>(e).key;
      if (key.kind != ExprKind::kConst) return false;
      const Text* name = static_cast<const ConstExpr&>(key).value.AsText();
      return name != nullptr && name->str() == "content";
    }
    default:
      return false;
  }
}

bool IsNoneConstant(const Expr& e) {
  return e.kind == ExprKind::kConst && static_cast<const ConstExpr&>(e).value.IsNone();
}

void InspectStmt(const Stmt& s, Names* aliases, ContentTraits* traits) {
  if (s.kind == StmtKind::kFor) {
    traits->loops |= IsContent(*static_cast<const ForStmt&>(s).iterable, *aliases);
  } else if (s.kind == StmtKind::kSet) {
    const auto& set = static_cast<const SetStmt&>(s);
    if (set.target.attribute.empty() && !set.target.is_tuple && IsContent(*set.value, *aliases)) {
      aliases->insert(set.target.name);
    }
  } else if (s.kind == StmtKind::kMacro) {
    // Templates hand content to a macro that renders it, mostly by that name.
    for (const Param& p : static_cast<const MacroStmt&>(s).params) {
      if (p.name == "content") aliases->insert(p.name);
    }
  }
}

void InspectExpr(const Expr& e, const Names& aliases, ContentTraits* traits) {
  if (e.kind == ExprKind::kTest) {
    const auto& test = static_cast<const TestExpr&>(e);
    if (!IsContent(*test.input, aliases)) return;
    const std::string_view name = test.test->name;
    traits->tests_none |= name == "none" || name == "defined" || name == "undefined";
    traits->tests_type |=
        name == "string" || name == "iterable" || name == "sequence" || name == "mapping";
  } else if (e.kind == ExprKind::kCompare) {
    const auto& compare = static_cast<const CompareExpr&>(e);
    const Expr& right = *compare.rest[0].second;
    traits->tests_none |= (IsContent(*compare.first, aliases) && IsNoneConstant(right)) ||
                          (IsNoneConstant(*compare.first) && IsContent(right, aliases));
  }
}

absl::StatusOr<std::string> JoinParts(const Json& parts) {
  std::string text;
  for (const Json& part : parts) {
    if (!text.empty() || &part != &parts.front()) text += '\n';
    text += part["text"].get_ref<const std::string&>();
  }
  return text;
}

absl::Status CheckParts(const Json& parts) {
  for (const Json& part : parts) {
    if (!part.is_object() || !part.contains("type") || !part["type"].is_string()) {
      return Error("a content part must be an object with a type");
    }
    const std::string& type = part["type"].get_ref<const std::string&>();
    if (type != "text") return Error("content parts of type '", type, "' are not supported");
    if (!part.contains("text") || !part["text"].is_string()) {
      return Error("a content part of type 'text' needs a string 'text'");
    }
  }
  return absl::OkStatus();
}

absl::Status NormalizeContent(const ContentTraits& traits, Json* message) {
  if (!message->contains("content") || (*message)["content"].is_null()) {
    if (!traits.tests_none) (*message)["content"] = "";
    return absl::OkStatus();
  }
  Json& content = (*message)["content"];
  if (content.is_array()) {
    RETURN_IF_ERROR(CheckParts(content));
    if (traits.loops) return absl::OkStatus();
    ASSIGN_OR_RETURN(std::string text, JoinParts(content));
    content = std::move(text);
  } else if (!content.is_string()) {
    return Error("content must be a string, a list of parts or null");
  } else if (traits.loops && !traits.tests_type) {
    Json part = Json::object();
    part["type"] = "text";
    part["text"] = std::move(content);
    content = Json::array({std::move(part)});
  }
  return absl::OkStatus();
}

void NormalizeToolCalls(Json* message) {
  auto calls = message->find("tool_calls");
  if (calls == message->end() || !calls->is_array()) return;
  for (Json& call : *calls) {
    if (!call.is_object() || !call.contains("function") || !call["function"].is_object()) continue;
    auto arguments = call["function"].find("arguments");
    if (arguments == call["function"].end() || !arguments->is_string()) continue;
    Json parsed = Json::parse(arguments->get_ref<const std::string&>(), nullptr, false);
    if (parsed.is_object()) *arguments = std::move(parsed);
  }
}

}  // namespace

ContentTraits InspectContent(const Block& block) {
  ContentTraits traits;
  Names aliases;
  Walk(block, {[&](const Stmt& s) { InspectStmt(s, &aliases, &traits); },
               [&](const Expr& e) { InspectExpr(e, aliases, &traits); }});
  return traits;
}

absl::StatusOr<Json> NormalizeMessages(Json messages, const ContentTraits& traits) {
  if (!messages.is_array()) return Error("messages must be a list");
  for (size_t i = 0; i < messages.size(); ++i) {
    Json& message = messages[i];
    if (!message.is_object() || !message.contains("role") || !message["role"].is_string()) {
      return Error("messages[", i, "] must be an object with a string 'role'");
    }
    absl::Status status = NormalizeContent(traits, &message);
    if (!status.ok()) return Error("messages[", i, "]: ", std::string(status.message()));
    NormalizeToolCalls(&message);
  }
  return messages;
}

}  // namespace lynx::jinja
