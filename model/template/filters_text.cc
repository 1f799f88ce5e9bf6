// Filters on strings and numbers.
#include <algorithm>
#include <cmath>

#include "model/template/access.h"
#include "model/template/error.h"
#include "model/template/filters.h"
#include "model/template/format.h"
#include "model/template/number.h"
#include "model/template/operators.h"
#include "model/template/text_ops.h"
#include "model/template/utf8.h"
#include "runtime/status.h"

namespace lynx::jinja {
namespace {

using Result = absl::StatusOr<Value>;

template <CaseMap kMap>
Result Case(Context& ctx, const Value& in, const Args& args) {
  RETURN_IF_ERROR(BindArgs("case filter", args, {}).status());
  ASSIGN_OR_RETURN(const Text t, ToStr(in, ctx.budget));
  return MakeText(ctx, MapCase(t, kMap));
}

// Unlike str.title: words begin after white space and -({[<.
Result Title(Context& ctx, const Value& in, const Args& args) {
  RETURN_IF_ERROR(BindArgs("title", args, {}).status());
  ASSIGN_OR_RETURN(const Text t, ToStr(in, ctx.budget));
  Text out;
  bool begins = true;
  for (size_t i = 0; i < t.size();) {
    const CodePoint c = DecodeAt(t.str(), i);
    const Text one = t.Range(i, i + c.bytes);
    out.Append(MapCase(one, begins ? CaseMap::kUpper : CaseMap::kLower));
    begins = IsSpace(c.value) ||
             (c.value < 128 &&
              std::string_view("-({[<").find(static_cast<char>(c.value)) != std::string_view::npos);
    i += c.bytes;
  }
  return MakeText(ctx, std::move(out));
}

Result Trim(Context& ctx, const Value& in, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("trim", args, {"chars"}));
  ASSIGN_OR_RETURN(const Text* chars, TextArg(a[0]));
  ASSIGN_OR_RETURN(const Text t, ToStr(in, ctx.budget));
  return MakeText(ctx, Strip(t, chars, true, true));
}

Result String(Context& ctx, const Value& in, const Args& args) {
  RETURN_IF_ERROR(BindArgs("string", args, {}).status());
  ASSIGN_OR_RETURN(Text t, ToStr(in, ctx.budget));
  return Value(std::move(t));
}

Result ReplaceFilter(Context& ctx, const Value& in, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("replace", args, {"old", "new", "count"}, 2));
  ASSIGN_OR_RETURN(const Text t, ToStr(in, ctx.budget));
  ASSIGN_OR_RETURN(const Text from, ToStr(*a[0], ctx.budget));
  ASSIGN_OR_RETURN(const Text to, ToStr(*a[1], ctx.budget));
  const Value* count_value = a[2] != nullptr && a[2]->IsNone() ? nullptr : a[2];
  ASSIGN_OR_RETURN(const int64_t count, IntArg(count_value, -1));
  ASSIGN_OR_RETURN(Text out, Replace(ctx, t, from, to, count));
  return Value(std::move(out));
}

Result Center(Context& ctx, const Value& in, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("center", args, {"width"}));
  ASSIGN_OR_RETURN(const int64_t width, IntArg(a[0], 80));
  ASSIGN_OR_RETURN(const Text t, ToStr(in, ctx.budget));
  const int64_t space =
      std::max<int64_t>(0, width - static_cast<int64_t>(CountCodePoints(t.str())));
  const int64_t left = space / 2 + (space & width & 1);
  return Pad(ctx, t, left, space - left, Text(" "));
}

Result Indent(Context& ctx, const Value& in, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("indent", args, {"width", "first", "blank"}));
  Text margin;
  if (a[0] != nullptr && a[0]->AsText() != nullptr) {
    margin = *a[0]->AsText();
  } else {
    ASSIGN_OR_RETURN(const int64_t width, IntArg(a[0], 4));
    ASSIGN_OR_RETURN(const Value spaces, Pad(ctx, Text(), width, 0, Text(" ")));
    margin = *spaces.AsText();
  }
  ASSIGN_OR_RETURN(Text t, ToStr(in, ctx.budget));
  t.Append("\n", false);  // as jinja2 does, so that the last line counts
  const std::vector<Value> lines = SplitLines(t, false);
  const bool blank = a[2] != nullptr && a[2]->Truth();
  Text out;
  for (size_t i = 0; i < lines.size(); ++i) {
    const Text& line = *lines[i].AsText();
    RETURN_IF_ERROR(ctx.budget.Bytes(line.size() + margin.size() + 1));
    if (i > 0) out.Append("\n", false);
    const bool indents = i == 0 ? a[1] != nullptr && a[1]->Truth() : blank || !line.empty();
    if (indents) out.Append(margin);
    out.Append(line);
  }
  return Value(std::move(out));
}

Result Truncate(Context& ctx, const Value& in, const Args& args) {
  ASSIGN_OR_RETURN(const auto a,
                   BindArgs("truncate", args, {"length", "killwords", "end", "leeway"}));
  ASSIGN_OR_RETURN(const int64_t length, IntArg(a[0], 255));
  ASSIGN_OR_RETURN(const int64_t leeway, IntArg(a[3] && a[3]->IsNone() ? nullptr : a[3], 5));
  ASSIGN_OR_RETURN(const Text* end_arg, TextArg(a[2]));
  const Text end = end_arg != nullptr ? *end_arg : Text("...");
  ASSIGN_OR_RETURN(const Text t, ToStr(in, ctx.budget));
  const std::vector<size_t> offsets = CodePointOffsets(t.str());
  const int64_t end_length = static_cast<int64_t>(CountCodePoints(end.str()));
  if (length < end_length || leeway < 0) return Error("truncate() got a bad length or leeway");
  const int64_t n = static_cast<int64_t>(offsets.size()) - 1;
  if (n <= length || n - length <= leeway) return Value(t);
  Text out = t.Range(0, offsets[static_cast<size_t>(length - end_length)]);
  if (a[1] == nullptr || !a[1]->Truth()) {
    const size_t space = out.str().rfind(' ');
    if (space != std::string::npos) out = out.Range(0, space);
  }
  out.Append(end);
  return MakeText(ctx, std::move(out));
}

Result WordCount(Context& ctx, const Value& in, const Args& args) {
  RETURN_IF_ERROR(BindArgs("wordcount", args, {}).status());
  ASSIGN_OR_RETURN(const Text t, ToStr(in, ctx.budget));
  int64_t words = 0;
  bool in_word = false;
  for (size_t i = 0; i < t.size();) {
    const CodePoint c = DecodeAt(t.str(), i);
    const bool word = IsAlpha(c.value) || IsDigit(c.value) || c.value == '_';
    words += word && !in_word ? 1 : 0;
    in_word = word;
    i += c.bytes;
  }
  return Value(words);
}

// printf-style: %s, %d, %r and %%, without flags.
Result Format(Context& ctx, const Value& in, const Args& args) {
  if (!args.keyword.empty()) return Error("format() takes no named arguments here");
  ASSIGN_OR_RETURN(const Text t, ToStr(in, ctx.budget));
  Text out;
  size_t next = 0, done = 0;
  for (size_t i = t.str().find('%'); i != std::string::npos; i = t.str().find('%', done)) {
    out.AppendRange(t, done, i);
    const char c = i + 1 < t.size() ? t.str()[i + 1] : '\0';
    done = i + 2;
    if (c == '%') {
      out.Append("%", t.FromUserAt(i));
      continue;
    }
    if (c != 's' && c != 'd' && c != 'r') return Error("format() does not know '%", c, "'");
    if (next == args.positional.size()) return Error("not enough arguments for format string");
    const Value& v = args.positional[next++];
    if (c == 'd' && !v.AsInt() && !v.AsBool()) return Error("%d needs an integer");
    int64_t number = 0;
    const Value shown = c == 'd' && v.ToInt(&number) ? Value(number) : v;
    ASSIGN_OR_RETURN(const Text text,
                     c == 'r' ? ToRepr(shown, ctx.budget) : ToStr(shown, ctx.budget));
    out.Append(text);
  }
  if (next != args.positional.size()) return Error("not all arguments converted by format()");
  out.AppendRange(t, done, t.size());
  return MakeText(ctx, std::move(out));
}

Result ToJsonFilter(Context& ctx, const Value& in, const Args& args) {
  ASSIGN_OR_RETURN(const auto a,
                   BindArgs("tojson", args, {"ensure_ascii", "indent", "separators", "sort_keys"}));
  JsonStyle style;
  style.ascii_only = a[0] != nullptr && a[0]->Truth();
  style.sort_keys = a[3] != nullptr && a[3]->Truth();
  if (a[1] != nullptr && !a[1]->IsNone()) {
    style.item_separator = Text(",");
    if (a[1]->AsText() != nullptr) {
      style.indent = *a[1]->AsText();
    } else {
      ASSIGN_OR_RETURN(const int64_t width, IntArg(a[1], 0));
      ASSIGN_OR_RETURN(const Value spaces, Pad(ctx, Text(), width, 0, Text(" ")));
      style.indent = *spaces.AsText();
    }
  }
  if (a[2] != nullptr && !a[2]->IsNone()) {
    const Sequence* s = a[2]->AsSequence();
    if (s == nullptr || s->items.size() != 2 || !s->items[0].AsText() || !s->items[1].AsText()) {
      return Error("tojson() separators must be two strings");
    }
    style.item_separator = *s->items[0].AsText();
    style.key_separator = *s->items[1].AsText();
  }
  ASSIGN_OR_RETURN(Text t, ToJson(in, style, ctx.budget));
  return Value(std::move(t));
}

Result ToInt(Context&, const Value& in, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("int", args, {"default", "base"}));
  const Value otherwise = a[0] != nullptr ? *a[0] : Value(int64_t{0});
  ASSIGN_OR_RETURN(const int64_t base, IntArg(a[1], 10));
  if (base != 2 && base != 8 && base != 10 && base != 16)
    return Error("int() base is not supported");
  if (in.IsUndefined()) return Error(in.WhyUndefined());
  int64_t i;
  double d;
  if (in.ToInt(&i)) return Value(i);
  if (const Text* t = in.AsText()) {
    if (ParseInt(t->str(), static_cast<int>(base), &i)) return Value(i);
    if (!ParseFloat(t->str(), &d)) return otherwise;
  } else if (!in.ToDouble(&d)) {
    return otherwise;
  }
  if (!std::isfinite(d)) return otherwise;
  if (std::fabs(d) >= 9.2e18) return Error("integer beyond 64 bits");
  return Value(static_cast<int64_t>(d));
}

Result ToFloat(Context&, const Value& in, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("float", args, {"default"}));
  if (in.IsUndefined()) return Error(in.WhyUndefined());
  double d;
  if (in.ToDouble(&d)) return Value(d);
  if (in.AsText() != nullptr && ParseFloat(in.AsText()->str(), &d)) return Value(d);
  return a[0] != nullptr ? *a[0] : Value(0.0);
}

Result Abs(Context&, const Value& in, const Args& args) {
  RETURN_IF_ERROR(BindArgs("abs", args, {}).status());
  int64_t i;
  if (in.ToInt(&i) && i >= 0) return Value(i);
  if (in.AsFloat() != nullptr) return Value(std::fabs(*in.AsFloat()));
  return Negate(in);
}

Result Round(Context&, const Value& in, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("round", args, {"precision", "method"}));
  ASSIGN_OR_RETURN(const int64_t precision, IntArg(a[0], 0));
  ASSIGN_OR_RETURN(const Text* method, TextArg(a[1]));
  const std::string how = method != nullptr ? method->str() : "common";
  double d;
  if (!in.ToDouble(&d)) return Error("round() needs a number, not ", in.TypeName());
  if (precision < 0 || precision > 15) return Error("round() precision is not supported");
  const double scale = std::pow(10.0, static_cast<double>(precision));
  if (how == "ceil") return Value(std::ceil(d * scale) / scale);
  if (how == "floor") return Value(std::floor(d * scale) / scale);
  if (how != "common") return Error("round() method must be common, ceil or floor");
  int64_t i;
  if (in.ToInt(&i)) return Value(i);
  // printf rounds the exact binary value, as Python's round does.
  char buffer[400];
  std::snprintf(buffer, sizeof buffer, "%.*f", static_cast<int>(precision), d);
  return Value(std::strtod(buffer, nullptr));
}

constexpr FilterSpec kFilters[] = {
    {"abs", Abs},
    {"capitalize", Case<CaseMap::kCapitalize>},
    {"center", Center},
    {"float", ToFloat},
    {"format", Format},
    {"indent", Indent},
    {"int", ToInt},
    {"lower", Case<CaseMap::kLower>},
    {"replace", ReplaceFilter},
    {"round", Round},
    {"string", String},
    {"title", Title},
    {"tojson", ToJsonFilter},
    {"trim", Trim},
    {"truncate", Truncate},
    {"upper", Case<CaseMap::kUpper>},
    {"wordcount", WordCount},
};

}  // namespace

const FilterSpec* FindTextFilter(std::string_view name) {
  for (const FilterSpec& f : kFilters) {
    if (f.name == name) return &f;
  }
  return nullptr;
}

}  // namespace lynx::jinja
