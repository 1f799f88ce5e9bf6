// UTF-8 and normalization.
#include <utf8proc.h>

#include <catch2/catch.hpp>
#include <random>

#include "model/detokenizer.h"
#include "model/tokenizer_nfc.h"
#include "model/tokenizer_utf8.h"

namespace lynx::test {
namespace {

std::string Utf8(char32_t c) {
  std::string out;
  AppendUtf8(c, &out);
  return out;
}

std::string NfcByUtf8proc(const std::string& text) {
  std::unique_ptr<utf8proc_uint8_t, decltype(&free)> nfc(
      utf8proc_NFC(reinterpret_cast<const utf8proc_uint8_t*>(text.c_str())), &free);
  return reinterpret_cast<const char*>(nfc.get());
}

}  // namespace

TEST_CASE("Every scalar value survives UTF-8, nothing else is valid", "[utf8]") {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    const std::string text = Utf8(c);
    const Utf8Unit unit = NextUtf8Unit(text, 0);
    const bool surrogate = c >= 0xD800 && c <= 0xDFFF;
    if (surrogate ? unit.state != Utf8State::kBroken
                  : unit.state != Utf8State::kValid || unit.size != text.size() ||
                        DecodeUtf8(text, 0) != c) {
      FAIL("U+" << std::hex << static_cast<uint32_t>(c));
    }
  }
}

TEST_CASE("Broken UTF-8 becomes U+FFFD as in Python", "[utf8]") {
  // Expected: bytes.decode("utf-8", "replace"); '?' stands for U+FFFD.
  const std::pair<std::string, std::string> cases[] = {
      {"a\x80z", "a?z"},
      {"\xC0\xAF", "??"},
      {"\xE2\x82", "?"},
      {"\xE2\x82z", "?z"},
      {"\xED\xA0\x80", "???"},
      {"\xF0\x9F\x98", "?"},
      {"\xF0\x80\x80\x80", "????"},
      {"\xF4\x90\x80\x80", "????"},
      {"\xFF\xFE", "??"},
      {"\xE0\x80", "??"},
      {"\xF1\x80\xE2\x82", "??"},
      {"\xC2", "?"},
  };
  for (const auto& [bytes, expected] : cases) {
    std::string repaired = RepairUtf8(bytes);
    for (size_t at; (at = repaired.find(kReplacementCharacter)) != std::string::npos;) {
      repaired.replace(at, kReplacementCharacter.size(), "?");
    }
    CHECK(repaired == expected);
  }
}

TEST_CASE("A stream in any pieces gives the repaired whole", "[utf8]") {
  std::mt19937 random(5);
  const uint8_t bytes[] = {'a', 0x80, 0xBF, 0xC3, 0xE2, 0xED, 0xF0, 0xF4, 0x9F, 0x98, 0xFF, 0xA0};
  for (int i = 0; i < 20000; ++i) {
    std::string whole;
    Utf8Stream stream;
    std::string text;
    for (int k = random() % 6; k >= 0; --k) {
      std::string piece(random() % 4, '\0');
      for (char& c : piece) c = static_cast<char>(bytes[random() % std::size(bytes)]);
      whole += piece;
      text += stream.Push(piece);
      REQUIRE(ValidUtf8Prefix(text) == text.size());
    }
    REQUIRE(text + stream.Finish() == RepairUtf8(whole));
  }
}

TEST_CASE("What passes as surely NFC is, beside any character", "[nfc]") {
  size_t inert = 0;
  for (char32_t c = 1; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    const std::string text = Utf8(c);
    if (!IsSurelyNfc(text)) continue;
    ++inert;
    const utf8proc_property_t* property = utf8proc_get_property(static_cast<int32_t>(c));
    const bool composes_back = NfcByUtf8proc("a" + text) != "a" + text;
    if (property->combining_class != 0 || NfcByUtf8proc(text) != text || composes_back) {
      FAIL("U+" << std::hex << static_cast<uint32_t>(c));
    }
  }
  CHECK(inert > 30000);
}

TEST_CASE("NFC equals utf8proc's own on every character and on random marks", "[nfc]") {
  for (char32_t c = 1; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    const std::string text = Utf8(c);
    if (NormalizeNfc(text) != NfcByUtf8proc(text))
      FAIL("U+" << std::hex << static_cast<uint32_t>(c));
  }
  std::mt19937 random(11);
  const char32_t chars[] = {'a',    'e',     0xE9,   0x301,  0x308,  0x323,  0x316,
                            0x327,  0x1100,  0x1161, 0x11A8, 0xAC00, 0x3099, 0x304B,
                            0x212B, 0x1D15E, 0x344,  0x958,  0x2ADC};
  for (int i = 0; i < 20000; ++i) {
    std::string text;
    for (int k = random() % 10; k >= 0; --k) text += Utf8(chars[random() % std::size(chars)]);
    REQUIRE(NormalizeNfc(text) == NfcByUtf8proc(text));
  }
}

TEST_CASE("A long run of marks out of order is sorted", "[nfc]") {
  std::string text = "x", expected = "x";
  for (int i = 0; i < 200000; ++i) text += Utf8(i % 2 == 0 ? 0x301 : 0x316);
  for (int i = 0; i < 100000; ++i) expected += Utf8(0x316);
  for (int i = 0; i < 100000; ++i) expected += Utf8(0x301);
  CHECK(NormalizeNfc(text) == expected);
}

}  // namespace lynx::test
