#include "model/template/functions.h"

#include <algorithm>
#include <array>

#include "model/template/access.h"
#include "model/template/error.h"
#include "model/template/format.h"
#include "runtime/status.h"

namespace lynx::jinja {
namespace {

using Result = absl::StatusOr<Value>;
constexpr int64_t kRangeMax = 100'000;  // the sandbox's limit

Result Range(Context& ctx, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("range", args, {"", "", ""}, 1));
  ASSIGN_OR_RETURN(int64_t start, IntArg(a[0], 0));
  ASSIGN_OR_RETURN(int64_t stop, IntArg(a[1], 0));
  ASSIGN_OR_RETURN(const int64_t step, IntArg(a[2], 1));
  if (a[1] == nullptr) {
    stop = start;
    start = 0;
  }
  if (step == 0) return Error("range() step must not be zero");
  const __int128 span =
      step > 0 ? static_cast<__int128>(stop) - start : static_cast<__int128>(start) - stop;
  const __int128 stride = step > 0 ? step : -static_cast<__int128>(step);
  const __int128 count = span <= 0 ? 0 : (span + stride - 1) / stride;
  if (count > kRangeMax) return Error("the range is too big");
  RETURN_IF_ERROR(ctx.budget.Bytes(static_cast<size_t>(count) * sizeof(Value)));
  std::vector<Value> items;
  for (int64_t i = 0; i < static_cast<int64_t>(count); ++i) items.emplace_back(start + i * step);
  return Value::Seq(SequenceKind::kRange, std::move(items));
}

absl::StatusOr<std::vector<Dict::Entry>> DictEntries(const Args& args, std::string_view name) {
  if (args.positional.size() > 1) return Error(name, "() takes one positional argument");
  std::vector<Dict::Entry> entries;
  if (!args.positional.empty()) {
    const Dict* d = args.positional[0].AsDict();
    if (d == nullptr) return Error(name, "() needs a dict");
    entries = d->entries();
  }
  for (const auto& [key, value] : args.keyword) entries.push_back({Value::Str(key), value});
  return entries;
}

Result MakeDict(Context& ctx, const Args& args) {
  ASSIGN_OR_RETURN(std::vector<Dict::Entry> entries, DictEntries(args, "dict"));
  RETURN_IF_ERROR(ctx.budget.Bytes(entries.size() * sizeof(Dict::Entry)));
  return Dict::Make(std::move(entries));
}

Result MakeNamespace(Context& ctx, const Args& args) {
  ASSIGN_OR_RETURN(std::vector<Dict::Entry> entries, DictEntries(args, "namespace"));
  RETURN_IF_ERROR(ctx.budget.Bytes(entries.size() * sizeof(Dict::Entry)));
  ASSIGN_OR_RETURN(NamespaceObject * ns, ctx.New<NamespaceObject>());
  for (Dict::Entry& e : entries) {
    if (e.key.AsText() != nullptr) ns->attributes[e.key.AsText()->str()] = std::move(e.value);
  }
  return Value(ns);
}

Result MakeCycler(Context& ctx, const Args& args) {
  if (args.positional.empty() || !args.keyword.empty()) return Error("cycler() needs items");
  ASSIGN_OR_RETURN(CyclerObject * cycler, ctx.New<CyclerObject>());
  cycler->items = args.positional;
  return Value(cycler);
}

Result MakeJoiner(Context& ctx, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("joiner", args, {"sep"}));
  ASSIGN_OR_RETURN(const Text* separator, TextArg(a[0]));
  ASSIGN_OR_RETURN(JoinerObject * joiner, ctx.New<JoinerObject>());
  joiner->separator = separator != nullptr ? *separator : Text(", ");
  return Value(joiner);
}

Result RaiseException(Context& ctx, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("raise_exception", args, {"message"}, 1));
  ASSIGN_OR_RETURN(const Text message, ToStr(*a[0], ctx.budget));
  return absl::InvalidArgumentError(message.str());
}

Result StrftimeNow(Context& ctx, const Args& args) {
  ASSIGN_OR_RETURN(const auto a, BindArgs("strftime_now", args, {"format"}, 1));
  ASSIGN_OR_RETURN(const Text* format, TextArg(a[0]));
  if (format == nullptr) return Error("strftime_now() needs a format");
  RETURN_IF_ERROR(ctx.budget.Bytes(format->size() * 16));
  ASSIGN_OR_RETURN(const std::string text, FormatTime(format->str(), ctx.now));
  return Value::Str(text);
}

}  // namespace

FunctionObject* FindFunction(std::string_view name) {
  static std::array<FunctionObject, 7>* functions = new std::array<FunctionObject, 7>{
      FunctionObject{"range", Range},
      FunctionObject{"dict", MakeDict},
      FunctionObject{"namespace", MakeNamespace},
      FunctionObject{"cycler", MakeCycler},
      FunctionObject{"joiner", MakeJoiner},
      FunctionObject{"raise_exception", RaiseException},
      FunctionObject{"strftime_now", StrftimeNow},
  };
  for (FunctionObject& f : *functions) {
    if (f.name == name) return &f;
  }
  return nullptr;
}

absl::StatusOr<Value> CallCycler(CyclerObject* cycler, std::string_view method) {
  if (method == "reset") {
    cycler->position = 0;
    return Value();
  }
  if (method != "next") return Error("a cycler has no method '", method, "'");
  Value v = cycler->items[cycler->position];
  cycler->position = (cycler->position + 1) % cycler->items.size();
  return v;
}

absl::StatusOr<Value> CallJoiner(JoinerObject* joiner) {
  return Value(std::exchange(joiner->used, true) ? joiner->separator : Text());
}

}  // namespace lynx::jinja
