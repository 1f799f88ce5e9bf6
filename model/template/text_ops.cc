#include "model/template/text_ops.h"

#include <string.h>

#include <algorithm>

#include "model/template/error.h"
#include "model/template/utf8.h"
#include "runtime/status.h"

namespace lynx::jinja {
namespace {

bool InSet(uint32_t c, const Text* chars) {
  if (chars == nullptr) return IsSpace(c);
  for (size_t i = 0; i < chars->size();) {
    const CodePoint p = DecodeAt(chars->str(), i);
    if (p.value == c) return true;
    i += p.bytes;
  }
  return false;
}

// Start of the code point that ends at `end` > begin.
size_t PreviousStart(std::string_view s, size_t begin, size_t end) {
  size_t i = end - 1;
  while (i > begin && end - i < 4 && (static_cast<uint8_t>(s[i]) & 0xC0) == 0x80) --i;
  return DecodeAt(s, i).bytes == end - i ? i : end - 1;
}

uint32_t MapOne(uint32_t c, CaseMap map, bool first, bool after_cased) {
  switch (map) {
    case CaseMap::kUpper:
      return ToUpper(c);
    case CaseMap::kLower:
      return ToLower(c);
    case CaseMap::kCapitalize:
      return first ? ToUpper(c) : ToLower(c);
    case CaseMap::kTitle:
      return after_cased ? ToLower(c) : ToUpper(c);
    case CaseMap::kSwap:
      return IsUpper(c) ? ToLower(c) : ToUpper(c);
  }
  return c;
}

// Splits at white space; the pieces lie between `cuts`.
std::vector<std::pair<size_t, size_t>> Words(std::string_view s) {
  std::vector<std::pair<size_t, size_t>> words;
  bool in_word = false;
  for (size_t i = 0; i < s.size();) {
    const CodePoint c = DecodeAt(s, i);
    const bool space = IsSpace(c.value);
    if (!space && !in_word) words.push_back({i, i});
    i += c.bytes;
    if (!space) words.back().second = i;
    in_word = !space;
  }
  return words;
}

std::vector<Value> SplitWords(const Text& t, int64_t limit, bool from_right) {
  auto words = Words(t.str());
  const size_t pieces = limit < 0 ? words.size() : static_cast<size_t>(limit) + 1;
  if (words.size() > pieces) {
    // The rest is one piece: up to the end (split: with its trailing space) or from the beginning.
    const size_t extra = words.size() - pieces;
    if (from_right) {
      words[extra].first = 0;
      words.erase(words.begin(), words.begin() + static_cast<ptrdiff_t>(extra));
    } else {
      words.resize(pieces);
      words.back().second = t.size();
    }
  }
  std::vector<Value> out;
  for (auto [begin, end] : words) out.emplace_back(t.Range(begin, end));
  return out;
}

size_t RFindBytes(std::string_view t, std::string_view part, size_t end) {
  return end < part.size() ? std::string_view::npos : t.substr(0, end).rfind(part);
}

}  // namespace

size_t FindBytes(std::string_view t, std::string_view part, size_t from) {
  if (from > t.size()) return std::string_view::npos;
  const void* p = memmem(t.data() + from, t.size() - from, part.data(), part.size());
  if (p == nullptr) return std::string_view::npos;
  return static_cast<size_t>(static_cast<const char*>(p) - t.data());
}

Text Strip(const Text& t, const Text* chars, bool left, bool right) {
  size_t begin = 0, end = t.size();
  while (left && begin < end) {
    const CodePoint c = DecodeAt(t.str(), begin);
    if (!InSet(c.value, chars)) break;
    begin += c.bytes;
  }
  while (right && begin < end) {
    const size_t last = PreviousStart(t.str(), begin, end);
    if (!InSet(DecodeAt(t.str(), last).value, chars)) break;
    end = last;
  }
  return t.Range(begin, end);
}

Text MapCase(const Text& t, CaseMap map) {
  Text out;
  bool after_cased = false;
  for (size_t i = 0; i < t.size();) {
    const CodePoint c = DecodeAt(t.str(), i);
    std::string mapped;
    if (c.value == 0xDF && (map == CaseMap::kUpper || map == CaseMap::kSwap))
      mapped = "SS";
    else
      AppendUtf8(mapped, MapOne(c.value, map, i == 0, after_cased));
    out.Append(mapped, t.FromUserAt(i));
    after_cased = IsUpper(c.value) || IsLower(c.value);
    i += c.bytes;
  }
  return out;
}

bool HasOnlyCase(const Text& t, bool upper) {
  bool found = false;
  for (size_t i = 0; i < t.size();) {
    const CodePoint c = DecodeAt(t.str(), i);
    if (upper ? IsLower(c.value) : IsUpper(c.value)) return false;
    found |= upper ? IsUpper(c.value) : IsLower(c.value);
    i += c.bytes;
  }
  return found;
}

absl::StatusOr<Text> Replace(Context& ctx, const Text& t, const Text& from, const Text& to,
                             int64_t count) {
  RETURN_IF_ERROR(ctx.budget.Bytes(t.size()));
  Text out;
  size_t done = 0;
  for (size_t i = 0; count != 0; --count) {
    size_t at = FindBytes(t.str(), from.str(), i);
    if (at == std::string_view::npos) break;
    RETURN_IF_ERROR(ctx.budget.Bytes(to.size() + 1));
    out.AppendRange(t, done, at);
    out.Append(to);
    done = at + from.size();
    // An empty `from` stands before every character and at the end.
    if (from.empty() && at == t.size()) break;
    i = from.empty() ? at + DecodeAt(t.str(), at).bytes : done;
  }
  out.AppendRange(t, done, t.size());
  return out;
}

absl::StatusOr<std::vector<Value>> Split(Context& ctx, const Text& t, const Text* separator,
                                         int64_t limit, bool from_right) {
  RETURN_IF_ERROR(ctx.budget.Bytes(t.size() * 2));
  if (separator == nullptr) return SplitWords(t, limit, from_right);
  if (separator->empty()) return Error("empty separator");
  const std::string& sep = separator->str();
  std::vector<Value> out;
  size_t begin = 0, end = t.size();
  while (limit < 0 || static_cast<int64_t>(out.size()) < limit) {
    const size_t at = from_right ? RFindBytes(t.str(), sep, end) : FindBytes(t.str(), sep, begin);
    if (at == std::string_view::npos) break;
    RETURN_IF_ERROR(ctx.budget.Bytes(sizeof(Text)));
    out.emplace_back(from_right ? t.Range(at + sep.size(), end) : t.Range(begin, at));
    if (from_right)
      end = at;
    else
      begin = at + sep.size();
  }
  out.emplace_back(t.Range(begin, end));
  if (from_right) std::reverse(out.begin(), out.end());
  return out;
}

std::vector<Value> SplitLines(const Text& t, bool keep_ends) {
  std::vector<Value> out;
  size_t begin = 0;
  for (size_t i = 0; i < t.size();) {
    const CodePoint c = DecodeAt(t.str(), i);
    const size_t end = i;
    i += c.bytes;
    const bool breaks = (c.value >= 0x0A && c.value <= 0x0D) ||
                        (c.value >= 0x1C && c.value <= 0x1E) || c.value == 0x85 ||
                        c.value == 0x2028 || c.value == 0x2029;
    if (!breaks) continue;
    if (c.value == '\r' && i < t.size() && t.str()[i] == '\n') ++i;
    out.emplace_back(t.Range(begin, keep_ends ? i : end));
    begin = i;
  }
  if (begin < t.size()) out.emplace_back(t.Range(begin, t.size()));
  return out;
}

absl::StatusOr<Value> Pad(Context& ctx, const Text& t, int64_t left, int64_t right,
                          const Text& fill) {
  left = std::max<int64_t>(left, 0);
  right = std::max<int64_t>(right, 0);
  RETURN_IF_ERROR(ctx.budget.Bytes(t.size()));
  RETURN_IF_ERROR(ctx.budget.Bytes(static_cast<size_t>(left)));
  RETURN_IF_ERROR(ctx.budget.Bytes(static_cast<size_t>(right)));
  Text out;
  for (int64_t i = 0; i < left; ++i) out.Append(fill);
  out.Append(t);
  for (int64_t i = 0; i < right; ++i) out.Append(fill);
  return Value(std::move(out));
}

}  // namespace lynx::jinja
