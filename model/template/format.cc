#include "model/template/format.h"

#include "model/template/error.h"
#include "model/template/number.h"
#include "model/template/utf8.h"
#include "runtime/status.h"

namespace lynx::jinja {
namespace {

class Writer {
 public:
  explicit Writer(Budget& budget) : budget_(budget) {}

  absl::Status Repr(const Value& v) {
    RETURN_IF_ERROR(budget_.Steps());
    if (const Text* t = v.AsText()) return ReprText(*t);
    if (const Sequence* s = v.AsSequence()) return ReprSequence(*s);
    if (const Dict* d = v.AsDict()) return ReprDict(*d);
    if (v.IsUndefined()) return Put("Undefined");
    if (v.IsNone()) return Put("None");
    if (const bool* b = v.AsBool()) return Put(*b ? "True" : "False");
    if (const int64_t* i = v.AsInt()) return Put(std::to_string(*i));
    if (const double* f = v.AsFloat()) return Put(FormatFloat(*f));
    return Error("a ", v.TypeName(), " cannot be printed");
  }

  Text Take() { return std::move(out_); }

 private:
  absl::Status Put(std::string_view s, bool from_user = false) {
    RETURN_IF_ERROR(budget_.Bytes(s.size()));
    out_.Append(s, from_user);
    return absl::OkStatus();
  }

  absl::Status ReprText(const Text& t) {
    const bool doubled =
        t.str().find('\'') != std::string::npos && t.str().find('"') == std::string::npos;
    const char quote = doubled ? '"' : '\'';
    RETURN_IF_ERROR(Put(std::string_view(&quote, 1)));
    size_t begin = 0;
    for (const Text::Run& run : t.runs()) {
      RETURN_IF_ERROR(Put(Escaped(std::string_view(t.str()).substr(begin, run.end - begin), quote),
                          run.from_user));
      begin = run.end;
    }
    return Put(std::string_view(&quote, 1));
  }

  static std::string Escaped(std::string_view s, char quote) {
    std::string out;
    for (size_t i = 0; i < s.size();) {
      const CodePoint c = DecodeAt(s, i);
      i += c.bytes;
      if (c.value == '\n')
        out += "\\n";
      else if (c.value == '\r')
        out += "\\r";
      else if (c.value == '\t')
        out += "\\t";
      else if (c.value == '\\' || c.value == static_cast<uint32_t>(quote)) {
        out += '\\';
        out += static_cast<char>(c.value);
      } else if (IsPrintable(c.value) || c.value >= kInvalidBase) {
        AppendUtf8(out, c.value);
      } else {
        char buffer[16];
        const char* format = c.value < 0x100     ? "\\x%02x"
                             : c.value < 0x10000 ? "\\u%04x"
                                                 : "\\U%08x";
        std::snprintf(buffer, sizeof buffer, format, c.value);
        out += buffer;
      }
    }
    return out;
  }

  absl::Status ReprItems(const std::vector<Value>& items, const char* open, const char* close) {
    RETURN_IF_ERROR(Put(open));
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) RETURN_IF_ERROR(Put(", "));
      RETURN_IF_ERROR(Repr(items[i]));
    }
    return Put(close);
  }

  absl::Status ReprSequence(const Sequence& s) {
    switch (s.kind) {
      case SequenceKind::kList:
        return ReprItems(s.items, "[", "]");
      case SequenceKind::kTuple:
        return ReprItems(s.items, "(", s.items.size() == 1 ? ",)" : ")");
      case SequenceKind::kItems:
        return ReprItems(s.items, "dict_items([", "])");
      case SequenceKind::kKeys:
        return ReprItems(s.items, "dict_keys([", "])");
      case SequenceKind::kValues:
        return ReprItems(s.items, "dict_values([", "])");
      case SequenceKind::kRange:
        return Error("a range cannot be printed");
    }
    return absl::OkStatus();
  }

  absl::Status ReprDict(const Dict& d) {
    RETURN_IF_ERROR(Put("{"));
    for (size_t i = 0; i < d.entries().size(); ++i) {
      if (i > 0) RETURN_IF_ERROR(Put(", "));
      RETURN_IF_ERROR(Repr(d.entries()[i].key));
      RETURN_IF_ERROR(Put(": "));
      RETURN_IF_ERROR(Repr(d.entries()[i].value));
    }
    return Put("}");
  }

  Budget& budget_;
  Text out_;
};

}  // namespace

absl::StatusOr<Text> ToStr(const Value& v, Budget& budget) {
  if (const Text* t = v.AsText()) {
    RETURN_IF_ERROR(budget.Bytes(t->size()));
    return *t;
  }
  if (v.IsUndefined()) return Text();
  return ToRepr(v, budget);
}

absl::StatusOr<Text> ToRepr(const Value& v, Budget& budget) {
  Writer writer(budget);
  RETURN_IF_ERROR(writer.Repr(v));
  return writer.Take();
}

}  // namespace lynx::jinja
