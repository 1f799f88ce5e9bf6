#include "model/tokenizer_utf8.h"

#include <cstring>

namespace lynx {
namespace {

struct Lead {
  uint8_t size;               // bytes of the character; 0: no character begins with this byte
  uint8_t second_low = 0x80;  // the second byte's range (the later ones': 80..BF)
  uint8_t second_high = 0xBF;
};

Lead ClassifyLead(uint8_t b) {
  if (b < 0x80) return {1};
  if (b < 0xC2) return {0};
  if (b < 0xE0) return {2};
  if (b == 0xE0) return {3, 0xA0, 0xBF};
  if (b == 0xED) return {3, 0x80, 0x9F};  // no surrogates
  if (b < 0xF0) return {3};
  if (b == 0xF0) return {4, 0x90, 0xBF};
  if (b < 0xF4) return {4};
  if (b == 0xF4) return {4, 0x80, 0x8F};
  return {0};
}

}  // namespace

Utf8Unit NextUtf8Unit(std::string_view text, size_t pos) {
  const Lead lead = ClassifyLead(static_cast<uint8_t>(text[pos]));
  if (lead.size == 0) return {1, Utf8State::kBroken};
  for (size_t i = 1; i < lead.size; ++i) {
    if (pos + i >= text.size()) return {i, Utf8State::kIncomplete};
    const uint8_t b = static_cast<uint8_t>(text[pos + i]);
    const uint8_t low = i == 1 ? lead.second_low : 0x80;
    const uint8_t high = i == 1 ? lead.second_high : 0xBF;
    if (b < low || b > high) return {i, Utf8State::kBroken};
  }
  return {lead.size, Utf8State::kValid};
}

size_t ValidUtf8Prefix(std::string_view text) {
  size_t pos = 0;
  while (pos < text.size()) {
    uint64_t chunk = 0;
    if (pos + sizeof(chunk) <= text.size()) {
      std::memcpy(&chunk, text.data() + pos, sizeof(chunk));
      if ((chunk & 0x8080808080808080u) == 0) {
        pos += sizeof(chunk);
        continue;
      }
    }
    const Utf8Unit unit = NextUtf8Unit(text, pos);
    if (unit.state != Utf8State::kValid) break;
    pos += unit.size;
  }
  return pos;
}

std::string RepairUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const size_t valid = ValidUtf8Prefix(text);
    out.append(text.substr(0, valid));
    text.remove_prefix(valid);
    if (text.empty()) break;
    out.append(kReplacementCharacter);
    text.remove_prefix(NextUtf8Unit(text, 0).size);
  }
  return out;
}

char32_t DecodeUtf8(std::string_view text, size_t pos) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[pos + i]); };
  const uint8_t b = byte(0);
  if (b < 0x80) return b;
  if (b < 0xE0) return (b & 0x1Fu) << 6 | (byte(1) & 0x3Fu);
  if (b < 0xF0) return (b & 0x0Fu) << 12 | (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu);
  return (b & 0x07u) << 18 | (byte(1) & 0x3Fu) << 12 | (byte(2) & 0x3Fu) << 6 | (byte(3) & 0x3Fu);
}

void AppendUtf8(char32_t c, std::string* out) {
  const auto push = [&](uint32_t b) { out->push_back(static_cast<char>(b)); };
  if (c < 0x80) {
    push(c);
  } else if (c < 0x800) {
    push(0xC0 | c >> 6);
    push(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    push(0xE0 | c >> 12);
    push(0x80 | (c >> 6 & 0x3F));
    push(0x80 | (c & 0x3F));
  } else {
    push(0xF0 | c >> 18);
    push(0x80 | (c >> 12 & 0x3F));
    push(0x80 | (c >> 6 & 0x3F));
    push(0x80 | (c & 0x3F));
  }
}

}  // namespace lynx
