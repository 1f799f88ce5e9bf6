#include "model/template/utf8.h"

namespace lynx::jinja {
namespace {

bool In(uint32_t c, uint32_t first, uint32_t last) { return c >= first && c <= last; }

// Latin Extended-A alternates upper and lower case; in these ranges the upper case is odd.
bool UpperIsOdd(uint32_t c) { return In(c, 0x139, 0x148) || In(c, 0x179, 0x17E); }

bool InPairs(uint32_t c) {
  if (c == 0x130 || c == 0x131 || c == 0x138 || c == 0x149 || c == 0x178 || c == 0x17F)
    return false;
  return In(c, 0x100, 0x17E) || In(c, 0x460, 0x481) || In(c, 0x48A, 0x4BF) || In(c, 0x4D0, 0x52F);
}

bool PairIsUpper(uint32_t c) { return ((c & 1) != 0) == UpperIsOdd(c); }

struct Single {
  uint32_t upper;
  uint32_t lower;
};
constexpr Single kSingles[] = {
    {0x178, 0xFF},  {0x386, 0x3AC}, {0x388, 0x3AD}, {0x389, 0x3AE}, {0x38A, 0x3AF},
    {0x38C, 0x3CC}, {0x38E, 0x3CD}, {0x38F, 0x3CE}, {0x4C0, 0x4CF}, {0x1E9E, 0xDF},
};

}  // namespace

CodePoint DecodeAt(std::string_view s, size_t offset) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(s[offset + i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return {first, 1};
  const CodePoint invalid{kInvalidBase + first, 1};
  const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || s.size() - offset < length) return invalid;
  uint32_t value = first & (0x7Fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return invalid;
    value = (value << 6) | (byte(i) & 0x3F);
  }
  const uint32_t least = length == 4 ? 0x10000 : length == 3 ? 0x800 : 0x80;
  if (value < least || value > 0x10FFFF || In(value, 0xD800, 0xDFFF)) return invalid;
  return {value, length};
}

void AppendUtf8(std::string& out, uint32_t c) {
  if (c >= kInvalidBase) {
    out.push_back(static_cast<char>(c - kInvalidBase));
  } else if (c < 0x80) {
    out.push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    out.push_back(static_cast<char>(0xC0 | (c >> 6)));
    out.push_back(static_cast<char>(0x80 | (c & 0x3F)));
  } else if (c < 0x10000) {
    out.push_back(static_cast<char>(0xE0 | (c >> 12)));
    out.push_back(static_cast<char>(0x80 | ((c >> 6) & 0x3F)));
    out.push_back(static_cast<char>(0x80 | (c & 0x3F)));
  } else {
    out.push_back(static_cast<char>(0xF0 | (c >> 18)));
    out.push_back(static_cast<char>(0x80 | ((c >> 12) & 0x3F)));
    out.push_back(static_cast<char>(0x80 | ((c >> 6) & 0x3F)));
    out.push_back(static_cast<char>(0x80 | (c & 0x3F)));
  }
}

size_t CountCodePoints(std::string_view s) {
  size_t count = 0;
  for (size_t i = 0; i < s.size(); i += DecodeAt(s, i).bytes) ++count;
  return count;
}

std::vector<size_t> CodePointOffsets(std::string_view s) {
  std::vector<size_t> offsets;
  offsets.reserve(s.size() + 1);
  for (size_t i = 0; i < s.size(); i += DecodeAt(s, i).bytes) offsets.push_back(i);
  offsets.push_back(s.size());
  return offsets;
}

bool IsSpace(uint32_t c) {
  return In(c, 0x09, 0x0D) || In(c, 0x1C, 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         In(c, 0x2000, 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool IsPrintable(uint32_t c) {
  if (c < 0x20 || In(c, 0x7F, 0xA0) || c == 0xAD || c >= kInvalidBase) return false;
  if (c != 0x20 && IsSpace(c)) return false;
  if (In(c, 0x200B, 0x200F) || In(c, 0x202A, 0x202E) || In(c, 0x2060, 0x206F)) return false;
  return !In(c, 0xE000, 0xF8FF) && c != 0xFEFF && !In(c, 0xFFF0, 0xFFFB) && c < 0xE0000;
}

uint32_t ToUpper(uint32_t c) {
  if (In(c, 'a', 'z')) return c - 32;
  if (c < 0x80) return c;
  if (c == 0xB5) return 0x39C;
  if (c == 0x131) return 'I';
  if (c == 0x17F) return 'S';
  if (In(c, 0xE0, 0xFE) && c != 0xF7) return c - 32;
  if (InPairs(c)) return PairIsUpper(c) ? c : c - 1;
  for (const Single& s : kSingles) {
    if (s.lower == c && c != 0xDF) return s.upper;
  }
  if (c == 0x3C2) return 0x3A3;  // final sigma
  if (In(c, 0x3B1, 0x3CB)) return c - 32;
  if (In(c, 0x430, 0x44F)) return c - 32;
  if (In(c, 0x450, 0x45F)) return c - 80;
  if (In(c, 0x4C1, 0x4CE)) return (c & 1) != 0 ? c : c - 1;
  return c;
}

uint32_t ToLower(uint32_t c) {
  if (In(c, 'A', 'Z')) return c + 32;
  if (c < 0x80) return c;
  if (In(c, 0xC0, 0xDE) && c != 0xD7) return c + 32;
  if (InPairs(c)) return PairIsUpper(c) ? c + 1 : c;
  for (const Single& s : kSingles) {
    if (s.upper == c) return s.lower;
  }
  if (In(c, 0x391, 0x3AB) && c != 0x3A2) return c + 32;
  if (In(c, 0x410, 0x42F)) return c + 32;
  if (In(c, 0x400, 0x40F)) return c + 80;
  if (In(c, 0x4C1, 0x4CE)) return (c & 1) != 0 ? c + 1 : c;
  return c;
}

bool IsUpper(uint32_t c) { return ToLower(c) != c; }

bool IsLower(uint32_t c) {
  return ToUpper(c) != c || c == 0xDF || c == 0xAA || c == 0xBA || c == 0x138 || c == 0x149;
}

bool IsAlpha(uint32_t c) {
  if (IsUpper(c) || IsLower(c)) return true;
  if (c < 0x250 || c >= kInvalidBase || IsSpace(c)) return false;
  return !In(c, 0x2000, 0x2BFF) && !In(c, 0x3000, 0x3004) && !In(c, 0x3008, 0x3030) &&
         !In(c, 0xFE00, 0xFE6F) && !In(c, 0xFF00, 0xFF20) && c < 0x1F000;
}

}  // namespace lynx::jinja
