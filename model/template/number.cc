#include "model/template/number.h"

#include <charconv>
#include <cmath>

namespace lynx::jinja {
namespace {

bool IsAsciiSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

std::string_view Strip(std::string_view s) {
  while (!s.empty() && IsAsciiSpace(s.front())) s.remove_prefix(1);
  while (!s.empty() && IsAsciiSpace(s.back())) s.remove_suffix(1);
  return s;
}

// Drops single underscores that stand between digits. False: an underscore elsewhere.
bool DropUnderscores(std::string_view s, std::string* out) {
  const auto digit = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] != '_') {
      out->push_back(s[i]);
    } else if (i == 0 || i + 1 == s.size() || !digit(s[i - 1]) || !digit(s[i + 1])) {
      return false;
    }
  }
  return !out->empty();
}

}  // namespace

std::string FormatFloat(double d) {
  if (std::isnan(d)) return "nan";
  if (std::isinf(d)) return d > 0 ? "inf" : "-inf";
  char buffer[64];
  auto result = std::to_chars(buffer, buffer + sizeof buffer, d, std::chars_format::scientific);
  const std::string_view text(buffer, static_cast<size_t>(result.ptr - buffer));
  const size_t e = text.find('e');
  int exponent = 0;
  const char* digits = text.data() + e + 1 + (text[e + 1] == '+' ? 1 : 0);
  std::from_chars(digits, text.data() + text.size(), exponent);
  // Python writes an exponent below 1e-4 and from 1e16 on, with at least two digits, like printf.
  if (exponent < -4 || exponent >= 16) return std::string(text);
  result = std::to_chars(buffer, buffer + sizeof buffer, d, std::chars_format::fixed);
  std::string out(buffer, result.ptr);
  if (out.find('.') == std::string::npos) out += ".0";
  return out;
}

bool ParseInt(std::string_view text, int base, int64_t* out) {
  std::string_view s = Strip(text);
  const bool negative = !s.empty() && s.front() == '-';
  if (!s.empty() && (s.front() == '-' || s.front() == '+')) s.remove_prefix(1);
  if (s.size() > 2 && s[0] == '0') {
    const char c = static_cast<char>(s[1] | 0x20);
    if ((c == 'x' && base == 16) || (c == 'o' && base == 8) || (c == 'b' && base == 2)) {
      s.remove_prefix(2);
    }
  }
  std::string digits = negative ? "-" : "";
  if (s.empty() || !DropUnderscores(s, &digits)) return false;
  const char* end = digits.data() + digits.size();
  auto result = std::from_chars(digits.data(), end, *out, base);
  return result.ec == std::errc() && result.ptr == end;
}

bool ParseFloat(std::string_view text, double* out) {
  std::string_view s = Strip(text);
  if (!s.empty() && s.front() == '+') s.remove_prefix(1);
  std::string digits;
  if (s.empty() || !DropUnderscores(s, &digits)) return false;
  if (digits.front() == '+') return false;
  const char* end = digits.data() + digits.size();
  auto result = std::from_chars(digits.data(), end, *out);
  return result.ec == std::errc() && result.ptr == end;
}

}  // namespace lynx::jinja
