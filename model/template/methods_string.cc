#include <algorithm>

#include "model/template/access.h"
#include "model/template/error.h"
#include "model/template/methods.h"
#include "model/template/text_ops.h"
#include "model/template/utf8.h"
#include "runtime/status.h"

namespace lynx::jinja {
namespace {

using Result = absl::StatusOr<Value>;

const Text& Self(const Value& v) { return *v.AsText(); }

template <bool kLeft, bool kRight>
Result StripMethod(Context& ctx, const Value& self, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("strip", args, {""}));
  ASSIGN_OR_RETURN(const Text* chars, TextArg(a[0]));
  return MakeText(ctx, Strip(Self(self), chars, kLeft, kRight));
}

template <CaseMap kMap>
Result CaseMethod(Context& ctx, const Value& self, const Args& args) {
  RETURN_IF_ERROR(BindArgs("case method", args, {}).status());
  return MakeText(ctx, MapCase(Self(self), kMap));
}

template <bool kRight>
Result SplitMethod(Context& ctx, const Value& self, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("split", args, {"sep", "maxsplit"}));
  ASSIGN_OR_RETURN(const Text* separator, TextArg(a[0]));
  ASSIGN_OR_RETURN(const int64_t limit, IntArg(a[1], -1));
  ASSIGN_OR_RETURN(std::vector<Value> parts, Split(ctx, Self(self), separator, limit, kRight));
  return Value::List(std::move(parts));
}

Result SplitLinesMethod(Context& ctx, const Value& self, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("splitlines", args, {"keepends"}));
  RETURN_IF_ERROR(ctx.budget.Bytes(Self(self).size()));
  return Value::List(SplitLines(Self(self), a[0] != nullptr && a[0]->Truth()));
}

template <bool kRight>
Result Partition(Context& ctx, const Value& self, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("partition", args, {""}, 1));
  ASSIGN_OR_RETURN(const Text* sep, TextArg(a[0]));
  if (sep == nullptr || sep->empty()) return Error("empty separator");
  const Text& t = Self(self);
  RETURN_IF_ERROR(ctx.budget.Bytes(t.size()));
  const size_t at = kRight ? t.str().rfind(sep->str()) : FindBytes(t.str(), sep->str(), 0);
  std::vector<Value> parts;
  if (at == std::string::npos) {
    if (kRight)
      parts = {Value(Text()), Value(Text()), self};
    else
      parts = {self, Value(Text()), Value(Text())};
  } else {
    parts = {Value(t.Range(0, at)), *a[0], Value(t.Range(at + sep->size(), t.size()))};
  }
  return Value::Seq(SequenceKind::kTuple, std::move(parts));
}

// Bytes [*begin, *end) of `t` that optional code point positions a[1] and a[2] mean, as in slices.
// False: the range is empty because it starts beyond the end.
absl::StatusOr<bool> ByteRange(const Text& t, const std::vector<const Value*>& a, size_t* begin,
                               size_t* end) {
  *begin = 0;
  *end = t.size();
  if (a[1] == nullptr && a[2] == nullptr) return true;
  const std::vector<size_t> offsets = CodePointOffsets(t.str());
  const int64_t n = static_cast<int64_t>(offsets.size()) - 1;
  const Value none;
  int64_t from = 0, to = n;
  if (a[1] != nullptr && !a[1]->IsNone()) {
    ASSIGN_OR_RETURN(from, IntArg(a[1], 0));
  }
  if (a[2] != nullptr && !a[2]->IsNone()) {
    ASSIGN_OR_RETURN(to, IntArg(a[2], n));
  }
  if (from < 0) from = std::max<int64_t>(from + n, 0);
  if (to < 0) to = std::max<int64_t>(to + n, 0);
  to = std::min(to, n);
  if (from > n || from > to) return false;
  *begin = offsets[static_cast<size_t>(from)];
  *end = offsets[static_cast<size_t>(to)];
  return true;
}

template <bool kEnd>
Result StartsEndsWith(Context& ctx, const Value& self, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs(kEnd ? "endswith" : "startswith", args, {"", "", ""}, 1));
  std::vector<Value> options = {*a[0]};
  if (const Sequence* s = a[0]->AsSequence(); s != nullptr && s->kind == SequenceKind::kTuple) {
    options = s->items;
  }
  size_t begin, end;
  ASSIGN_OR_RETURN(const bool valid, ByteRange(Self(self), a, &begin, &end));
  const std::string_view t = std::string_view(Self(self).str()).substr(begin, end - begin);
  for (const Value& option : options) {
    RETURN_IF_ERROR(ctx.budget.Steps());
    const Text* part = option.AsText();
    if (part == nullptr)
      return Error("startswith and endswith need a string or a tuple of strings");
    if (valid && (kEnd ? t.ends_with(part->str()) : t.starts_with(part->str()))) return Value(true);
  }
  return Value(false);
}

template <bool kRight, bool kMustExist>
Result Find(Context& ctx, const Value& self, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("find", args, {"", "", ""}, 1));
  ASSIGN_OR_RETURN(const Text* part, TextArg(a[0]));
  if (part == nullptr) return Error("find() needs a string");
  const Text& t = Self(self);
  RETURN_IF_ERROR(ctx.budget.Bytes(t.size()));
  size_t begin, end;
  ASSIGN_OR_RETURN(const bool valid, ByteRange(t, a, &begin, &end));
  size_t at = std::string::npos;
  if (valid) {
    const std::string_view range = std::string_view(t.str()).substr(begin, end - begin);
    at = kRight ? range.rfind(part->str()) : FindBytes(range, part->str(), 0);
  }
  if (at == std::string::npos) {
    if (kMustExist) return Error("substring not found");
    return Value(int64_t{-1});
  }
  return Value(
      static_cast<int64_t>(CountCodePoints(std::string_view(t.str()).substr(0, begin + at))));
}

Result Count(Context& ctx, const Value& self, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("count", args, {"", "", ""}, 1));
  ASSIGN_OR_RETURN(const Text* part, TextArg(a[0]));
  if (part == nullptr) return Error("count() needs a string");
  RETURN_IF_ERROR(ctx.budget.Bytes(Self(self).size()));
  size_t begin, end;
  ASSIGN_OR_RETURN(const bool valid, ByteRange(Self(self), a, &begin, &end));
  if (!valid) return Value(int64_t{0});
  const std::string_view t = std::string_view(Self(self).str()).substr(begin, end - begin);
  if (part->empty()) return Value(static_cast<int64_t>(CountCodePoints(t)) + 1);
  int64_t count = 0;
  for (size_t i = FindBytes(t, part->str(), 0); i != std::string::npos;
       i = FindBytes(t, part->str(), i + part->size())) {
    ++count;
  }
  return Value(count);
}

Result ReplaceMethod(Context& ctx, const Value& self, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("replace", args, {"", "", "count"}, 2));
  if (!a[0]->AsText() || !a[1]->AsText()) return Error("replace() needs strings");
  ASSIGN_OR_RETURN(const int64_t count, IntArg(a[2], -1));
  ASSIGN_OR_RETURN(Text t, Replace(ctx, Self(self), *a[0]->AsText(), *a[1]->AsText(), count));
  return Value(std::move(t));
}

template <bool kSuffix>
Result RemoveAffix(Context& ctx, const Value& self, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("removeprefix", args, {""}, 1));
  ASSIGN_OR_RETURN(const Text* part, TextArg(a[0]));
  if (part == nullptr) return Error("expected a string");
  const Text& t = Self(self);
  const bool has = kSuffix ? t.str().ends_with(part->str()) : t.str().starts_with(part->str());
  if (!has) return self;
  return MakeText(ctx,
                  kSuffix ? t.Range(0, t.size() - part->size()) : t.Range(part->size(), t.size()));
}

Result JoinMethod(Context& ctx, const Value& self, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("join", args, {""}, 1));
  if (a[0]->IsNone() || a[0]->IsUndefined()) return Error("can only join an iterable");
  ASSIGN_OR_RETURN(const std::vector<Value> items, Items(ctx, *a[0]));
  Text out;
  for (size_t i = 0; i < items.size(); ++i) {
    if (items[i].AsText() == nullptr)
      return Error("join() needs strings, not ", items[i].TypeName());
    RETURN_IF_ERROR(ctx.budget.Bytes(items[i].AsText()->size() + Self(self).size()));
    if (i > 0) out.Append(Self(self));
    out.Append(*items[i].AsText());
  }
  return Value(std::move(out));
}

// str.isdigit and its like: every character passes, and there is one.
template <bool (*kPasses)(uint32_t)>
Result All(Context& ctx, const Value& self, const Args& args) {
  RETURN_IF_ERROR(BindArgs("is...", args, {}).status());
  const std::string& s = Self(self).str();
  RETURN_IF_ERROR(ctx.budget.Bytes(s.size()));
  for (size_t i = 0; i < s.size();) {
    const CodePoint c = DecodeAt(s, i);
    if (!kPasses(c.value)) return Value(false);
    i += c.bytes;
  }
  return Value(!s.empty());
}

bool IsAlnum(uint32_t c) { return IsAlpha(c) || IsDigit(c); }

// str.isupper and str.islower: a cased character, and none of the other case.
template <bool kUpper>
Result HasCase(Context& ctx, const Value& self, const Args& args) {
  RETURN_IF_ERROR(BindArgs("isupper", args, {}).status());
  RETURN_IF_ERROR(ctx.budget.Bytes(Self(self).size()));
  return Value(HasOnlyCase(Self(self), kUpper));
}

Result Center(Context& ctx, const Value& self, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("center", args, {"", ""}, 1));
  ASSIGN_OR_RETURN(const int64_t width, IntArg(a[0], 0));
  ASSIGN_OR_RETURN(const Text* fill, TextArg(a[1]));
  if (fill != nullptr && CountCodePoints(fill->str()) != 1)
    return Error("the fill is one character");
  const int64_t length = static_cast<int64_t>(CountCodePoints(Self(self).str()));
  if (width <= length) return self;
  const int64_t space = width - length;
  const int64_t left = space / 2 + (space & width & 1);
  return Pad(ctx, Self(self), left, space - left, fill ? *fill : Text(" "));
}

template <bool kRightAligned>
Result Justify(Context& ctx, const Value& self, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("ljust", args, {"", ""}, 1));
  ASSIGN_OR_RETURN(const int64_t width, IntArg(a[0], 0));
  ASSIGN_OR_RETURN(const Text* fill, TextArg(a[1]));
  if (fill != nullptr && CountCodePoints(fill->str()) != 1)
    return Error("the fill is one character");
  const int64_t space = width - static_cast<int64_t>(CountCodePoints(Self(self).str()));
  return Pad(ctx, Self(self), kRightAligned ? space : 0, kRightAligned ? 0 : space,
             fill ? *fill : Text(" "));
}

constexpr Method kMethods[] = {
    {MethodOf::kString, "capitalize", CaseMethod<CaseMap::kCapitalize>},
    {MethodOf::kString, "center", Center},
    {MethodOf::kString, "count", Count},
    {MethodOf::kString, "endswith", StartsEndsWith<true>},
    {MethodOf::kString, "find", Find<false, false>},
    {MethodOf::kString, "index", Find<false, true>},
    {MethodOf::kString, "isalnum", All<IsAlnum>},
    {MethodOf::kString, "isalpha", All<IsAlpha>},
    {MethodOf::kString, "isdecimal", All<IsDigit>},
    {MethodOf::kString, "isdigit", All<IsDigit>},
    {MethodOf::kString, "islower", HasCase<false>},
    {MethodOf::kString, "isnumeric", All<IsDigit>},
    {MethodOf::kString, "isspace", All<IsSpace>},
    {MethodOf::kString, "isupper", HasCase<true>},
    {MethodOf::kString, "join", JoinMethod},
    {MethodOf::kString, "ljust", Justify<false>},
    {MethodOf::kString, "lower", CaseMethod<CaseMap::kLower>},
    {MethodOf::kString, "lstrip", StripMethod<true, false>},
    {MethodOf::kString, "partition", Partition<false>},
    {MethodOf::kString, "removeprefix", RemoveAffix<false>},
    {MethodOf::kString, "removesuffix", RemoveAffix<true>},
    {MethodOf::kString, "replace", ReplaceMethod},
    {MethodOf::kString, "rfind", Find<true, false>},
    {MethodOf::kString, "rindex", Find<true, true>},
    {MethodOf::kString, "rjust", Justify<true>},
    {MethodOf::kString, "rpartition", Partition<true>},
    {MethodOf::kString, "rsplit", SplitMethod<true>},
    {MethodOf::kString, "rstrip", StripMethod<false, true>},
    {MethodOf::kString, "split", SplitMethod<false>},
    {MethodOf::kString, "splitlines", SplitLinesMethod},
    {MethodOf::kString, "startswith", StartsEndsWith<false>},
    {MethodOf::kString, "strip", StripMethod<true, true>},
    {MethodOf::kString, "swapcase", CaseMethod<CaseMap::kSwap>},
    {MethodOf::kString, "title", CaseMethod<CaseMap::kTitle>},
    {MethodOf::kString, "upper", CaseMethod<CaseMap::kUpper>},
    // Not here: a template that calls one is refused when it is loaded.
    {MethodOf::kString, "casefold", nullptr},
    {MethodOf::kString, "encode", nullptr},
    {MethodOf::kString, "expandtabs", nullptr},
    {MethodOf::kString, "format", nullptr},
    {MethodOf::kString, "format_map", nullptr},
    {MethodOf::kString, "isascii", nullptr},
    {MethodOf::kString, "isidentifier", nullptr},
    {MethodOf::kString, "isprintable", nullptr},
    {MethodOf::kString, "istitle", nullptr},
    {MethodOf::kString, "maketrans", nullptr},
    {MethodOf::kString, "translate", nullptr},
    {MethodOf::kString, "zfill", nullptr},
};

}  // namespace

const Method* FindStringMethod(std::string_view name) {
  for (const Method& m : kMethods) {
    if (m.name == name) return &m;
  }
  return nullptr;
}

}  // namespace lynx::jinja
