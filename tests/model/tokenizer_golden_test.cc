// Ids and texts equal to those of PyPI `tokenizers` (tests/tools/make_tokenizer_goldens.py).
#include <catch2/catch.hpp>
#include <cinttypes>
#include <cstdio>
#include <sstream>

#include "model/detokenizer.h"
#include "model/tokenizer_nfc.h"
#include "model/tokenizer_utf8.h"
#include "tests/model/tokenizer_test_data.h"
#include "xxhash.h"

namespace lynx::test {
namespace {

std::string Hex(const void* data, size_t size) {
  char text[17];
  std::snprintf(text, sizeof(text), "%016" PRIx64, static_cast<uint64_t>(XXH3_64bits(data, size)));
  return text;
}

std::string HashIds(const std::vector<int32_t>& ids) {
  return Hex(ids.data(), ids.size() * sizeof(int32_t));
}

std::vector<int32_t> EncodeOrFail(const Tokenizer& tokenizer, std::string_view text,
                                  bool parse_special) {
  auto ids = tokenizer.Encode(text, {.parse_special = parse_special});
  REQUIRE(ids.ok());
  return *std::move(ids);
}

std::string DataFile(const std::string& name) {
  return ReadFileOrFail(std::string(LYNX_TEST_DATA) + "/tokenizer/" + name);
}

std::string DecodeByStream(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, bool skip) {
  Detokenizer stream(&tokenizer, skip);
  std::string text;
  for (const int32_t id : ids) {
    const std::string part = stream.Push(id);
    REQUIRE(ValidUtf8Prefix(part) == part.size());
    text += part;
  }
  return text + stream.Finish();
}

// A line of NAME.hashes for `text`.
std::string HashLine(const Tokenizer& tokenizer, std::string_view text) {
  const std::vector<int32_t> ids = EncodeOrFail(tokenizer, text, true);
  std::string line = HashIds(ids) + " " + HashIds(EncodeOrFail(tokenizer, text, false));
  for (const bool skip : {false, true}) {
    const std::string decoded = tokenizer.Decode(ids, skip);
    REQUIRE(DecodeByStream(tokenizer, ids, skip) == decoded);
    line += " " + Hex(decoded.data(), decoded.size());
  }
  return line;
}

}  // namespace

TEST_CASE("Ids, decoded and streamed text equal those of the tokenizers library", "[tokenizer]") {
  const std::vector<std::string> texts = TokenizerTexts();
  REQUIRE(texts.size() >= 2000);
  for (const std::string& name : kTokenizerNames) {
    const Tokenizer& tokenizer = NamedTokenizer(name);
    const std::vector<std::string> hashes = SplitLines(DataFile(name + ".hashes"));
    REQUIRE(hashes.size() == texts.size());
    for (size_t i = 0; i < texts.size(); ++i) {
      INFO(name << ", line " << i + 1 << " of lines.txt: " << texts[i]);
      REQUIRE(HashLine(tokenizer, texts[i]) == hashes[i]);
    }
  }
}

TEST_CASE("The first texts' ids stand in the goldens one by one", "[tokenizer]") {
  const std::vector<std::string> texts = TokenizerTexts();
  for (const std::string& name : kTokenizerNames) {
    const std::vector<std::string> lines = SplitLines(DataFile(name + ".ids"));
    REQUIRE(lines.size() == 100);
    for (size_t i = 0; i < lines.size(); ++i) {
      std::istringstream in(lines[i]);
      const std::vector<int32_t> expected{std::istream_iterator<int32_t>(in), {}};
      INFO(name << ": " << texts[i]);
      REQUIRE(EncodeOrFail(NamedTokenizer(name), texts[i], true) == expected);
    }
  }
}

TEST_CASE("Decoding gives the normalized text back", "[tokenizer]") {
  for (const std::string name : {"qwen2.5", "llama3", "qwen3"}) {
    const Tokenizer& tokenizer = NamedTokenizer(name);
    for (const std::string& text : TokenizerTexts()) {
      const std::string valid = RepairUtf8(text);
      INFO(name << ": " << text);
      const std::string expected = name == "llama3" ? valid : NormalizeNfc(valid);
      for (const bool parse : {true, false}) {
        REQUIRE(tokenizer.Decode(EncodeOrFail(tokenizer, text, parse), false) == expected);
      }
    }
  }
}

TEST_CASE("SmolLM2 decodes what its vocabulary has the bytes for", "[tokenizer]") {
  // Some rare bytes have no token in its vocabulary; the library leaves them out as well.
  const Tokenizer& tokenizer = NamedTokenizer("smollm2");
  size_t exact = 0;
  for (const std::string& text : TokenizerTexts()) {
    const std::string valid = RepairUtf8(text);
    bool has_all = true;
    for (const char c : valid) has_all &= tokenizer.FindToken(std::string(1, c)) >= 0;
    if (!has_all) continue;
    ++exact;
    REQUIRE(tokenizer.Decode(EncodeOrFail(tokenizer, text, true), false) == valid);
  }
  REQUIRE(exact > 1500);
}

TEST_CASE("Spans of one kind have the ids of their concatenation", "[tokenizer]") {
  const std::vector<std::string> texts = TokenizerTexts();
  for (const std::string& name : kTokenizerNames) {
    const Tokenizer& tokenizer = NamedTokenizer(name);
    for (size_t i = 0; i + 2 < texts.size(); i += 3) {
      for (const bool parse : {false, true}) {
        const TextSpan spans[] = {{texts[i], parse}, {texts[i + 1], parse}, {texts[i + 2], parse}};
        const auto ids = tokenizer.EncodeSpans(spans, false);
        REQUIRE(ids.ok());
        const std::string all =
            RepairUtf8(texts[i]) + RepairUtf8(texts[i + 1]) + RepairUtf8(texts[i + 2]);
        REQUIRE(*ids == EncodeOrFail(tokenizer, all, parse));
      }
    }
  }
}

}  // namespace lynx::test
