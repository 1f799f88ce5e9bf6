#include "model/template/text.h"

#include <catch2/catch.hpp>
#include <random>

#include "model/template/text_ops.h"
#include "model/template/utf8.h"

namespace lynx::jinja {
namespace {

TEST_CASE("text keeps one flag a byte", "[template]") {
  // Against a naive string of flags.
  std::mt19937 rng(1);
  for (int round = 0; round < 200; ++round) {
    Text text;
    std::string bytes, flags;
    for (int i = 0; i < 10; ++i) {
      const std::string piece(rng() % 4, static_cast<char>('a' + rng() % 26));
      const bool user = rng() % 2 == 0;
      text.Append(piece, user);
      bytes += piece;
      flags += std::string(piece.size(), user ? 'u' : 't');
    }
    const size_t begin = rng() % (bytes.size() + 1);
    const size_t end = begin + rng() % (bytes.size() - begin + 1);
    const Text part = text.Range(begin, end);
    CHECK(part.str() == bytes.substr(begin, end - begin));
    for (size_t i = 0; i < part.size(); ++i) CHECK(part.FromUserAt(i) == (flags[begin + i] == 'u'));
    for (size_t i = 1; i < part.runs().size(); ++i) {
      CHECK(part.runs()[i].from_user != part.runs()[i - 1].from_user);
    }
  }
}

TEST_CASE("bytes that are not UTF-8 count as one character each", "[template]") {
  CHECK(CountCodePoints("\xff\xc3\x28") == 3);
  CHECK(CountCodePoints("\xed\xa0\x80") == 3);
  CHECK(CountCodePoints("a\xf0\x9f\x98\x80") == 2);
  for (uint32_t c = 0; c < 0x110000; c += c < 0x3000 ? 1 : 997) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string s;
    AppendUtf8(s, c);
    CHECK(DecodeAt(s, 0).value == c);
    CHECK(DecodeAt(s, 0).bytes == s.size());
  }
  CHECK(Strip(Text("\xff a \xff", true), nullptr, true, true).str() == "\xff a \xff");
}

}  // namespace
}  // namespace lynx::jinja
