#include "model/template/lexer.h"

#include <algorithm>

#include "model/template/error.h"
#include "model/template/utf8.h"
#include "runtime/status.h"

namespace lynx::jinja {
namespace {

constexpr size_t kNpos = std::string_view::npos;

// \r\n and \r become \n; one newline at the end is dropped.
std::string NormalizeNewlines(std::string_view s) {
  std::string out;
  out.reserve(s.size());
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '\r') {
      out.push_back('\n');
      if (i + 1 < s.size() && s[i + 1] == '\n') ++i;
    } else {
      out.push_back(s[i]);
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

bool IsNameStart(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}
bool IsNameChar(char c) { return IsNameStart(c) || (c >= '0' && c <= '9'); }
bool IsDigitChar(char c) { return c >= '0' && c <= '9'; }

class Lexer {
 public:
  explicit Lexer(std::string_view s) : s_(s) {}

  absl::StatusOr<std::vector<Token>> Run() {
    while (pos_ < s_.size()) {
      absl::Status status = Root();
      if (!status.ok()) return Error("line ", line_, ": ", std::string(status.message()));
    }
    Add(TokenType::kEnd, "");
    return std::move(tokens_);
  }

 private:
  void Add(TokenType type, std::string_view text) {
    tokens_.push_back({type, std::string(text), line_});
  }

  // Moves over `n` bytes and counts lines.
  void Advance(size_t n) {
    const std::string_view part = s_.substr(pos_, n);
    line_ += static_cast<int>(std::count(part.begin(), part.end(), '\n'));
    if (!part.empty()) line_starting_ = part.back() == '\n';
    pos_ += n;
  }

  bool At(std::string_view what, size_t offset = 0) const {
    return s_.substr(std::min(pos_ + offset, s_.size())).substr(0, what.size()) == what;
  }

  size_t SpaceLength(size_t from) const {
    size_t i = from;
    while (i < s_.size()) {
      const CodePoint c = DecodeAt(s_, i);
      if (!IsSpace(c.value)) break;
      i += c.bytes;
    }
    return i - from;
  }

  size_t NextTag(size_t from) const {
    for (size_t i = s_.find('{', from); i != kNpos && i + 1 < s_.size(); i = s_.find('{', i + 1)) {
      if (s_[i + 1] == '{' || s_[i + 1] == '%' || s_[i + 1] == '#') return i;
    }
    return kNpos;
  }

  // The text before a tag with sign '-', '+' or 0 as the whitespace rules leave it.
  std::string_view StripBeforeTag(std::string_view text, char sign, bool variable) const {
    if (sign == '-') {
      return RStrip(text);
    }
    if (sign == '+' || variable) return text;
    const size_t newline = text.rfind('\n');
    const size_t line_begin = newline == kNpos ? 0 : newline + 1;
    if (line_begin == 0 && !line_starting_) return text;
    const std::string_view tail = text.substr(line_begin);
    return RStrip(tail).empty() ? text.substr(0, line_begin) : text;
  }

  static std::string_view RStrip(std::string_view text) {
    while (!text.empty()) {
      size_t begin = text.size() - 1;
      while (begin > 0 && (static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
      const CodePoint c = DecodeAt(text, begin);
      if (!IsSpace(c.value) || c.bytes != text.size() - begin) break;
      text = text.substr(0, begin);
    }
    return text;
  }

  char SignAt(size_t i) const {
    return i < s_.size() && (s_[i] == '-' || s_[i] == '+') ? s_[i] : '\0';
  }

  absl::Status Root() {
    const size_t tag = NextTag(pos_);
    if (tag == kNpos) {
      Add(TokenType::kData, s_.substr(pos_));
      Advance(s_.size() - pos_);
      return absl::OkStatus();
    }
    const char kind = s_[tag + 1];
    const char sign = SignAt(tag + 2);
    const std::string_view text = StripBeforeTag(s_.substr(pos_, tag - pos_), sign, kind == '{');
    if (!text.empty()) Add(TokenType::kData, text);
    Advance(tag - pos_);
    if (kind == '#') return Comment(sign != '\0');
    if (kind == '%') {
      const size_t raw = RawBeginLength();
      if (raw != 0) return Raw(raw);
    }
    Add(kind == '{' ? TokenType::kVariableBegin : TokenType::kBlockBegin, "");
    Advance(sign != '\0' ? 3 : 2);
    return Inside(kind == '{');
  }

  // Length of the closing tag `close` at the position, with its sign and what it swallows; 0: none.
  size_t CloseLength(std::string_view close, bool plus_allowed, bool trims) const {
    if (At("-") && At(close, 1)) return 3 + SpaceLength(pos_ + 3);
    if (plus_allowed && At("+") && At(close, 1)) return 3;
    if (!At(close)) return 0;
    return trims && At("\n", 2) ? 3 : 2;
  }

  absl::Status Comment(bool has_sign) {
    Advance(has_sign ? 3 : 2);
    const size_t end = s_.find("#}", pos_);
    if (end == kNpos) return Error("missing end of comment tag");
    const bool sign = end > pos_ && SignAt(end - 1) != '\0';
    Advance(end - pos_ - (sign ? 1 : 0));
    Advance(CloseLength("#}", true, true));
    return absl::OkStatus();
  }

  // Length of "{% raw %}" at the position; 0: it is another tag.
  size_t RawBeginLength() const {
    size_t i = pos_ + 2;
    if (SignAt(i) != '\0') ++i;
    i += SpaceLength(i);
    if (s_.substr(i, 3) != "raw") return 0;
    i += 3;
    i += SpaceLength(i);
    if (s_.substr(i, 3) == "-%}") return i + 3 + SpaceLength(i + 3) - pos_;
    return s_.substr(i, 2) == "%}" ? i + 2 - pos_ : 0;
  }

  absl::Status Raw(size_t begin_length) {
    Advance(begin_length);
    for (size_t tag = s_.find("{%", pos_); tag != kNpos; tag = s_.find("{%", tag + 2)) {
      size_t i = tag + 2;
      const char sign = SignAt(i);
      if (sign != '\0') ++i;
      i += SpaceLength(i);
      if (s_.substr(i, 6) != "endraw") continue;
      i += 6;
      i += SpaceLength(i);
      const size_t saved = pos_;
      pos_ = i;
      const size_t close = CloseLength("%}", true, true);
      pos_ = saved;
      if (close == 0) continue;
      const std::string_view text = StripBeforeTag(s_.substr(pos_, tag - pos_), sign, false);
      if (!text.empty()) Add(TokenType::kData, text);
      Advance(i + close - pos_);
      return absl::OkStatus();
    }
    return Error("missing end of raw directive");
  }

  absl::Status Inside(bool variable) {
    std::string open;  // brackets that wait for their end
    while (pos_ < s_.size()) {
      Advance(SpaceLength(pos_));
      if (pos_ == s_.size()) break;
      if (open.empty()) {
        const size_t close =
            variable ? CloseLength("}}", false, false) : CloseLength("%}", true, true);
        if (close != 0) {
          Add(variable ? TokenType::kVariableEnd : TokenType::kBlockEnd, "");
          Advance(close);
          return absl::OkStatus();
        }
      }
      RETURN_IF_ERROR(OneToken(&open));
    }
    return Error("a tag is not closed");
  }

  absl::Status OneToken(std::string* open) {
    const char c = s_[pos_];
    if (IsNameStart(c)) return Name();
    if (IsDigitChar(c)) return Number();
    if (c == '"' || c == '\'') return String(c);
    return Operator(open);
  }

  absl::Status Name() {
    size_t end = pos_;
    while (end < s_.size() && IsNameChar(s_[end])) ++end;
    Add(TokenType::kName, s_.substr(pos_, end - pos_));
    Advance(end - pos_);
    return absl::OkStatus();
  }

  // Digits with single underscores between them.
  size_t DigitsEnd(size_t i) const {
    if (i >= s_.size() || !IsDigitChar(s_[i])) return i;
    while (i < s_.size() &&
           (IsDigitChar(s_[i]) || (s_[i] == '_' && i + 1 < s_.size() && IsDigitChar(s_[i + 1])))) {
      ++i;
    }
    return i;
  }

  absl::Status Number() {
    const char kind = pos_ + 1 < s_.size() ? static_cast<char>(s_[pos_ + 1] | 0x20) : '\0';
    if (s_[pos_] == '0' && (kind == 'x' || kind == 'o' || kind == 'b')) return BasedNumber();
    size_t end = DigitsEnd(pos_);
    bool is_float = false;
    // After a dot ("x.0.5") digits are an index, not the start of a fraction.
    const bool after_dot = pos_ > 0 && s_[pos_ - 1] == '.';
    if (!after_dot && end + 1 < s_.size() && s_[end] == '.' && IsDigitChar(s_[end + 1])) {
      end = DigitsEnd(end + 1);
      is_float = true;
    }
    if (!after_dot && end < s_.size() && (s_[end] | 0x20) == 'e') {
      size_t digits = end + 1;
      if (digits < s_.size() && (s_[digits] == '+' || s_[digits] == '-')) ++digits;
      if (DigitsEnd(digits) > digits) {
        end = DigitsEnd(digits);
        is_float = true;
      }
    }
    Add(is_float ? TokenType::kFloat : TokenType::kInteger, s_.substr(pos_, end - pos_));
    Advance(end - pos_);
    return absl::OkStatus();
  }

  absl::Status BasedNumber() {
    size_t end = pos_ + 2;
    while (end < s_.size() &&
           (std::isxdigit(static_cast<unsigned char>(s_[end])) || s_[end] == '_')) {
      ++end;
    }
    Add(TokenType::kInteger, s_.substr(pos_, end - pos_));
    Advance(end - pos_);
    return absl::OkStatus();
  }

  absl::Status String(char quote) {
    size_t end = pos_ + 1;
    while (end < s_.size() && s_[end] != quote) end += s_[end] == '\\' ? 2 : 1;
    if (end >= s_.size()) return Error("a string is not closed");
    ASSIGN_OR_RETURN(std::string value, DecodeLiteral(s_.substr(pos_ + 1, end - pos_ - 1)));
    Add(TokenType::kString, value);
    Advance(end + 1 - pos_);
    return absl::OkStatus();
  }

  absl::Status Operator(std::string* open) {
    static constexpr std::string_view kLong[] = {"//", "**", "==", "!=", ">=", "<="};
    size_t length = 1;
    for (std::string_view op : kLong) {
      if (At(op)) length = 2;
    }
    const char c = s_[pos_];
    if (length == 1 && std::string_view("+-/*%~[](){}><=.:|,;").find(c) == kNpos) {
      return Error("unexpected character '", c, "'");
    }
    if (c == '(' || c == '[' || c == '{') open->push_back(c == '(' ? ')' : c == '[' ? ']' : '}');
    if (c == ')' || c == ']' || c == '}') {
      if (open->empty() || open->back() != c) return Error("unexpected '", c, "'");
      open->pop_back();
    }
    Add(TokenType::kOperator, s_.substr(pos_, length));
    Advance(length);
    return absl::OkStatus();
  }

  std::string_view s_;
  size_t pos_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

absl::StatusOr<std::vector<Token>> Tokenize(std::string_view source) {
  const std::string text = NormalizeNewlines(source);
  return Lexer(text).Run();
}

}  // namespace lynx::jinja
