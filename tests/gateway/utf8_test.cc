#include "gateway/utf8.h"

#include <catch2/catch.hpp>
#include <random>

namespace lynx {

TEST_CASE("ill-formed sequences become U+FFFD by maximal subparts") {
  const std::string r = "\xEF\xBF\xBD";
  // Python: bytes.decode("utf-8", "replace")
  CHECK(LossyUtf8("abc") == "abc");
  CHECK(LossyUtf8("\xC0\xAF") == r + r);
  CHECK(LossyUtf8("\xE0\x80\x80") == r + r + r);
  CHECK(LossyUtf8("\xED\xA0\x80") == r + r + r);
  CHECK(LossyUtf8("\xF0\x9F\x98z") == r + "z");
  CHECK(LossyUtf8("\xF4\x90\x80\x80") == r + r + r + r);
  CHECK(LossyUtf8("\x80\xFF") == r + r);
  CHECK(LossyUtf8("\xE2\x82\xAC") == "\xE2\x82\xAC");
  CHECK(CountCodePoints("a\xC3\xA9\xF0\x9F\x98\x80") == 3);
}

TEST_CASE("pieces give what the whole gives") {
  for (uint32_t seed = 0; seed < 2000; ++seed) {
    std::mt19937 rng(seed);
    static constexpr unsigned char kBytes[] = {'a',  0x80, 0x9F, 0xA0, 0xBF, 0xC2, 0xE0,
                                               0xE2, 0xED, 0xF0, 0xF4, 0xF5, 0x90};
    std::string bytes;
    for (size_t n = rng() % 12; n > 0; --n) bytes += static_cast<char>(kBytes[rng() % 13]);
    std::string text, pending;
    for (char c : bytes) {
      pending += c;
      const size_t keep = AppendUtf8(pending, &text);
      pending.erase(0, pending.size() - keep);
      CHECK(pending.size() < 4);
    }
    if (!pending.empty()) text += "\xEF\xBF\xBD";
    CAPTURE(seed);
    CHECK(text == LossyUtf8(bytes));
  }
}

}  // namespace lynx
