// Lines of key=value: how a value is quoted, and how a line is read back.
#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "runtime/log.h"

namespace lynx {
namespace {

constexpr char kHex[] = "0123456789abcdef";

bool IsControl(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 || byte == 0x7f;
}

bool IsKeyCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// How many bytes the UTF-8 character at text[0] has; 0: none (RFC 3629: no surrogates, nothing
// overlong).
size_t Utf8Length(std::string_view text) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = at(0);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xc0) != 0x80) return 0;
  }
  const unsigned char second = at(1);
  const bool bad = (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
                   (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f);
  return bad ? 0 : length;
}

void AppendJsonString(std::string_view text, std::string* out) {
  out->push_back('"');
  while (!text.empty()) {
    const char c = text.front();
    const size_t length = Utf8Length(text);
    if (c == '"' || c == '\\') {
      out->append({'\\', c});
    } else if (IsControl(c)) {
      out->append({'\\', 'u', '0', '0', kHex[c >> 4 & 15], kHex[c & 15]});
    } else if (length == 0) {
      out->append("\\ufffd");
    } else {
      out->append(text.substr(0, length));
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  out->push_back('"');
}

// The value behind key=, which is taken from `rest`. Nothing: a quoted one that does not end.
std::optional<std::string> TakeValue(std::string_view* rest) {
  if (rest->empty() || rest->front() != '"') {
    const size_t end = std::min(rest->find(' '), rest->size());
    std::string value(rest->substr(0, end));
    rest->remove_prefix(end);
    return value;
  }
  std::string value;
  for (size_t i = 1; i < rest->size(); ++i) {
    const char c = (*rest)[i];
    if (c == '"') {
      rest->remove_prefix(i + 1);
      return value;
    }
    if (c != '\\' || i + 1 == rest->size()) {
      value.push_back(c);
      continue;
    }
    const char escaped = (*rest)[++i];
    const int high = i + 2 < rest->size() && escaped == 'x' ? HexDigit((*rest)[i + 1]) : -1;
    const int low = high >= 0 ? HexDigit((*rest)[i + 2]) : -1;
    if (low >= 0) i += 2;
    value.push_back(low >= 0         ? static_cast<char>(high * 16 + low)
                    : escaped == 'n' ? '\n'
                                     : escaped);
  }
  return std::nullopt;
}

// Takes "key=" from `rest`; nothing (and nothing taken): there is none.
std::optional<std::string> TakeKey(std::string_view* rest) {
  size_t end = 0;
  while (end < rest->size() && IsKeyCharacter((*rest)[end])) ++end;
  if (end == 0 || end == rest->size() || (*rest)[end] != '=') return std::nullopt;
  std::string key(rest->substr(0, end));
  rest->remove_prefix(end + 1);
  return key;
}

using Fields = std::vector<std::pair<std::string, std::string>>;

// Nothing: the line is of another form.
std::optional<Fields> ReadFields(std::string_view rest) {
  Fields fields;
  std::string event;
  while (!rest.empty()) {
    if (rest.front() == ' ') {
      rest.remove_prefix(1);
      continue;
    }
    if (std::optional<std::string> key = TakeKey(&rest)) {
      std::optional<std::string> value = TakeValue(&rest);
      if (!value || (!rest.empty() && rest.front() != ' ')) return std::nullopt;
      fields.emplace_back(*std::move(key), *std::move(value));
      continue;
    }
    if (!fields.empty()) return std::nullopt;  // a word behind a value
    const size_t end = std::min(rest.find(' '), rest.size());
    event.append(event.empty() ? "" : " ").append(rest.substr(0, end));
    rest.remove_prefix(end);
  }
  if (!event.empty()) fields.emplace(fields.begin(), "event", std::move(event));
  return fields;
}

}  // namespace

std::string LogValue(std::string_view value) {
  const bool plain = std::all_of(value.begin(), value.end(), [](char c) {
    return c > 0x20 && c < 0x7f && c != '"' && c != '\\' && c != '=';
  });
  if (plain && !value.empty()) return std::string(value);
  std::string out = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') {
      out.append({'\\', c});
    } else if (c == '\n') {
      out.append("\\n");
    } else if (IsControl(c)) {
      out.append({'\\', 'x', kHex[c >> 4 & 15], kHex[c & 15]});
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
  return out;
}

std::string LogFieldsAsJson(std::string_view line) {
  const Fields fields =
      ReadFields(line).value_or(Fields{{std::string("message"), std::string(line)}});
  std::string out;
  for (const auto& [key, value] : fields) {
    if (!out.empty()) out.append(", ");
    AppendJsonString(key, &out);
    out.append(": ");
    AppendJsonString(value, &out);
  }
  return out;
}

}  // namespace lynx
