#include "gateway/utf8.h"

#include <cstdint>

namespace lynx {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

struct Lead {
  int length;  // 0: cannot start a character
  uint8_t second_min, second_max;
};

// Unicode's table 3-7: the second byte's range keeps overlong forms and surrogates out.
Lead Classify(uint8_t b) {
  if (b < 0x80) return {1, 0, 0};
  if (b < 0xC2) return {0, 0, 0};
  if (b < 0xE0) return {2, 0x80, 0xBF};
  if (b == 0xE0) return {3, 0xA0, 0xBF};
  if (b == 0xED) return {3, 0x80, 0x9F};
  if (b < 0xF0) return {3, 0x80, 0xBF};
  if (b == 0xF0) return {4, 0x90, 0xBF};
  if (b < 0xF4) return {4, 0x80, 0xBF};
  if (b == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

bool Continues(const Lead& lead, size_t k, uint8_t b) {
  return k == 1 ? b >= lead.second_min && b <= lead.second_max : b >= 0x80 && b <= 0xBF;
}

}  // namespace

size_t AppendUtf8(std::string_view bytes, std::string* out) {
  size_t i = 0;
  while (i < bytes.size()) {
    const Lead lead = Classify(static_cast<uint8_t>(bytes[i]));
    if (lead.length == 0) {
      out->append(kReplacement);
      ++i;
      continue;
    }
    size_t k = 1;
    while (k < static_cast<size_t>(lead.length) && i + k < bytes.size() &&
           Continues(lead, k, static_cast<uint8_t>(bytes[i + k]))) {
      ++k;
    }
    if (k == static_cast<size_t>(lead.length)) {
      out->append(bytes.substr(i, k));
    } else if (i + k == bytes.size()) {
      return k;
    } else {
      out->append(kReplacement);
    }
    i += k;
  }
  return 0;
}

std::string LossyUtf8(std::string_view bytes) {
  std::string text;
  if (AppendUtf8(bytes, &text) > 0) text.append(kReplacement);
  return text;
}

size_t CountCodePoints(std::string_view text) {
  size_t n = 0;
  for (char c : text) n += (static_cast<uint8_t>(c) & 0xC0) != 0x80 ? 1 : 0;
  return n;
}

}  // namespace lynx
