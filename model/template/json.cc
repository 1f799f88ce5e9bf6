// json.dumps of Python: key order kept, no HTML escaping.
#include <algorithm>
#include <cmath>

#include "model/template/error.h"
#include "model/template/format.h"
#include "model/template/number.h"
#include "model/template/utf8.h"
#include "runtime/status.h"

namespace lynx::jinja {
namespace {

class JsonWriter {
 public:
  JsonWriter(const JsonStyle& style, Budget& budget) : style_(style), budget_(budget) {}

  absl::Status Write(const Value& v, size_t level) {
    RETURN_IF_ERROR(budget_.Steps());
    if (const Text* t = v.AsText()) return WriteString(*t);
    const Sequence* s = v.AsSequence();
    if (s != nullptr && (s->kind == SequenceKind::kList || s->kind == SequenceKind::kTuple)) {
      return WriteList(s->items, level);
    }
    if (const Dict* d = v.AsDict()) return WriteDict(*d, level);
    std::string scalar;
    if (!Scalar(v, &scalar)) {
      return Error("Object of type ", v.TypeName(), " is not JSON serializable");
    }
    return Put(scalar);
  }

  Text Take() { return std::move(out_); }

 private:
  static bool Scalar(const Value& v, std::string* out) {
    if (v.IsNone())
      *out = "null";
    else if (const bool* b = v.AsBool())
      *out = *b ? "true" : "false";
    else if (const int64_t* i = v.AsInt())
      *out = std::to_string(*i);
    else if (const double* d = v.AsFloat())
      *out = Float(*d);
    else
      return false;
    return true;
  }

  static std::string Float(double d) {
    if (std::isnan(d)) return "NaN";
    if (std::isinf(d)) return d > 0 ? "Infinity" : "-Infinity";
    return FormatFloat(d);
  }

  absl::Status Put(std::string_view s, bool from_user = false) {
    RETURN_IF_ERROR(budget_.Bytes(s.size()));
    out_.Append(s, from_user);
    return absl::OkStatus();
  }

  absl::Status PutText(const Text& t) {
    RETURN_IF_ERROR(budget_.Bytes(t.size()));
    out_.Append(t);
    return absl::OkStatus();
  }

  absl::Status WriteString(const Text& t) {
    RETURN_IF_ERROR(Put("\""));
    size_t begin = 0;
    for (const Text::Run& run : t.runs()) {
      RETURN_IF_ERROR(
          Put(Escaped(std::string_view(t.str()).substr(begin, run.end - begin)), run.from_user));
      begin = run.end;
    }
    return Put("\"");
  }

  std::string Escaped(std::string_view s) const {
    std::string out;
    out.reserve(s.size() + 8);
    for (size_t i = 0; i < s.size();) {
      const CodePoint c = DecodeAt(s, i);
      i += c.bytes;
      EscapeOne(c.value, &out);
    }
    return out;
  }

  void EscapeOne(uint32_t c, std::string* out) const {
    switch (c) {
      case '"':
        out->append("\\\"");
        return;
      case '\\':
        out->append("\\\\");
        return;
      case '\n':
        out->append("\\n");
        return;
      case '\r':
        out->append("\\r");
        return;
      case '\t':
        out->append("\\t");
        return;
      case '\b':
        out->append("\\b");
        return;
      case '\f':
        out->append("\\f");
        return;
      default:
        break;
    }
    if (c < 0x20 || (style_.ascii_only && c >= 0x7F && c < kInvalidBase && c != 0x7F)) {
      AppendEscape(c, out);
    } else {
      AppendUtf8(*out, c);
    }
  }

  static void AppendEscape(uint32_t c, std::string* out) {
    char buffer[16];
    if (c >= 0x10000) {
      const uint32_t rest = c - 0x10000;
      std::snprintf(buffer, sizeof buffer, "\\u%04x\\u%04x", 0xD800 + (rest >> 10),
                    0xDC00 + (rest & 0x3FF));
    } else {
      std::snprintf(buffer, sizeof buffer, "\\u%04x", c);
    }
    out->append(buffer);
  }

  absl::Status NewLine(size_t level) {
    if (!style_.indent) return absl::OkStatus();
    RETURN_IF_ERROR(Put("\n"));
    for (size_t i = 0; i < level; ++i) RETURN_IF_ERROR(PutText(*style_.indent));
    return absl::OkStatus();
  }

  absl::Status WriteList(const std::vector<Value>& items, size_t level) {
    if (items.empty()) return Put("[]");
    RETURN_IF_ERROR(Put("["));
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) RETURN_IF_ERROR(PutText(style_.item_separator));
      RETURN_IF_ERROR(NewLine(level + 1));
      RETURN_IF_ERROR(Write(items[i], level + 1));
    }
    RETURN_IF_ERROR(NewLine(level));
    return Put("]");
  }

  absl::Status WriteDict(const Dict& d, size_t level) {
    if (d.entries().empty()) return Put("{}");
    std::vector<const Dict::Entry*> entries;
    for (const Dict::Entry& e : d.entries()) entries.push_back(&e);
    if (style_.sort_keys) RETURN_IF_ERROR(Sort(&entries));
    RETURN_IF_ERROR(Put("{"));
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) RETURN_IF_ERROR(PutText(style_.item_separator));
      RETURN_IF_ERROR(NewLine(level + 1));
      RETURN_IF_ERROR(WriteKey(entries[i]->key));
      RETURN_IF_ERROR(PutText(style_.key_separator));
      RETURN_IF_ERROR(Write(entries[i]->value, level + 1));
    }
    RETURN_IF_ERROR(NewLine(level));
    return Put("}");
  }

  absl::Status WriteKey(const Value& key) {
    if (const Text* t = key.AsText()) return WriteString(*t);
    std::string scalar;
    if (!Scalar(key, &scalar)) {
      return Error("keys must be str, int, float, bool or None, not ", key.TypeName());
    }
    return Put(Cat('"', scalar, '"'));
  }

  static absl::Status Sort(std::vector<const Dict::Entry*>* entries) {
    for (const Dict::Entry* e : *entries) {
      if (e->key.AsText() == nullptr) return Error("sort_keys needs string keys");
    }
    std::sort(entries->begin(), entries->end(), [](const Dict::Entry* a, const Dict::Entry* b) {
      return a->key.AsText()->str() < b->key.AsText()->str();
    });
    return absl::OkStatus();
  }

  const JsonStyle& style_;
  Budget& budget_;
  Text out_;
};

}  // namespace

absl::StatusOr<Text> ToJson(const Value& v, const JsonStyle& style, Budget& budget) {
  JsonWriter writer(style, budget);
  RETURN_IF_ERROR(writer.Write(v, 0));
  return writer.Take();
}

}  // namespace lynx::jinja
