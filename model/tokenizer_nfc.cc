#include "model/tokenizer_nfc.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "model/tokenizer_utf8.h"
#include "runtime/status.h"

namespace lynx {
namespace {

struct Range {
  char32_t first, last;
};

// Characters of combining class 0 that are their own NFC and never compose with the character
// before them. A test checks each against utf8proc.
constexpr Range kInertRanges[] = {
    {0x0000, 0x02FF},    // Latin
    {0x0400, 0x0482},    // Cyrillic
    {0x2010, 0x2064},    // punctuation, joiners
    {0x2190, 0x21FF},    // arrows
    {0x2500, 0x27BF},    // boxes, shapes, dingbats
    {0x3000, 0x3029},    // CJK punctuation
    {0x3041, 0x3096},    // Hiragana
    {0x309B, 0x30FF},    // Katakana
    {0x3400, 0x4DBF},    // CJK extension A
    {0x4E00, 0x9FFF},    // CJK
    {0xAC00, 0xD7A3},    // Hangul syllables
    {0xFF01, 0xFFEF},    // full and half width
    {0x1F300, 0x1FAFF},  // pictographs
};

bool IsInert(char32_t c) {
  return std::any_of(std::begin(kInertRanges), std::end(kInertRanges),
                     [c](Range r) { return c >= r.first && c <= r.last; });
}

int CombiningClass(int32_t c) { return utf8proc_get_property(c)->combining_class; }

std::vector<int32_t> Decompose(std::string_view text) {
  std::vector<int32_t> out;
  out.reserve(text.size());
  std::array<int32_t, 32> buffer;  // the longest canonical decomposition has 4 characters
  for (size_t pos = 0; pos < text.size(); pos += NextUtf8Unit(text, pos).size) {
    int boundary = 0;
    const auto n = utf8proc_decompose_char(
        static_cast<int32_t>(DecodeUtf8(text, pos)), buffer.data(), buffer.size(),
        static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE), &boundary);
    LYNX_CHECK(n >= 0 && n <= static_cast<utf8proc_ssize_t>(buffer.size()));
    out.insert(out.end(), buffer.begin(), buffer.begin() + n);
  }
  return out;
}

// utf8proc's own reordering is quadratic in a run of marks, which a hostile text can make long.
void ReorderMarks(std::vector<int32_t>* text) {
  for (auto it = text->begin(); it != text->end();) {
    const auto run =
        std::find_if(it, text->end(), [](int32_t c) { return CombiningClass(c) != 0; });
    it = std::find_if(run, text->end(), [](int32_t c) { return CombiningClass(c) == 0; });
    std::stable_sort(run, it,
                     [](int32_t a, int32_t b) { return CombiningClass(a) < CombiningClass(b); });
  }
}

}  // namespace

bool IsSurelyNfc(std::string_view text) {
  for (size_t pos = 0; pos < text.size();) {
    const uint8_t b = static_cast<uint8_t>(text[pos]);
    if (b < 0xCC) {  // below U+0300
      pos += b < 0x80 ? 1 : 2;
      continue;
    }
    if (!IsInert(DecodeUtf8(text, pos))) return false;
    pos += NextUtf8Unit(text, pos).size;
  }
  return true;
}

std::string NormalizeNfc(std::string_view text) {
  std::vector<int32_t> chars = Decompose(text);
  ReorderMarks(&chars);
  const auto size =
      utf8proc_normalize_utf32(chars.data(), static_cast<utf8proc_ssize_t>(chars.size()),
                               static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  LYNX_CHECK(size >= 0);
  std::string out;
  out.reserve(text.size());
  for (utf8proc_ssize_t i = 0; i < size; ++i) AppendUtf8(static_cast<char32_t>(chars[i]), &out);
  return out;
}

}  // namespace lynx
