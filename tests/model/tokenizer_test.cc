// The tokenizer's own rules, on a tiny vocabulary: byte b is token b.
#include "model/tokenizer.h"

#include <catch2/catch.hpp>
#include <random>
#include <thread>

#include "model/tokenizer_utf8.h"
#include "tests/model/tokenizer_test_data.h"

namespace lynx::test {
namespace {

using Ids = std::vector<int32_t>;

std::unique_ptr<const Tokenizer> Tiny(std::string_view old_part = "",
                                      std::string_view new_part = "") {
  auto tokenizer = Tokenizer::FromJson(TinyTokenizerJson(old_part, new_part), "");
  INFO(tokenizer.status().ToString());
  REQUIRE(tokenizer.ok());
  return *std::move(tokenizer);
}

Ids Encode(const Tokenizer& tokenizer, std::string_view text, bool parse_special = true) {
  auto ids = tokenizer.Encode(text, {.parse_special = parse_special});
  INFO(ids.status().ToString());
  REQUIRE(ids.ok());
  return *std::move(ids);
}

std::string LoadError(std::string_view old_part, std::string_view new_part) {
  const auto tokenizer = Tokenizer::FromJson(TinyTokenizerJson(old_part, new_part), "");
  REQUIRE_FALSE(tokenizer.ok());
  return std::string(tokenizer.status().message());
}

constexpr std::string_view kAddedS =
    R"({"id": 260, "content": "<s>", "special": true, "normalized": false})";

std::string AddedS(std::string_view flags) {
  return R"({"id": 260, "content": "<s>", "special": true, "normalized": false, )" +
         std::string(flags) + "}";
}

}  // namespace

TEST_CASE("Merges go by rank, leftmost first", "[tokenizer]") {
  const auto t = Tiny();
  CHECK(Encode(*t, "abc") == Ids{257});
  CHECK(Encode(*t, "bc") == Ids{259});
  CHECK(Encode(*t, "babca") == Ids{'b', 257, 'a'});
  CHECK(Encode(*t, " abc") == Ids{' ', 257});  // "a b" ranks before " a"
  CHECK(Encode(*t, " a") == Ids{258});
  CHECK(Encode(*t, "").empty());
}

TEST_CASE("ignore_merges takes a whole word as it is", "[tokenizer]") {
  // Without the merge "ab c" the word becomes "ab" "c"; the vocabulary still has "abc".
  CHECK(Encode(*Tiny(R"(["ab", "c"], )", ""), "abc") == Ids{256, 'c'});
  std::string json = TinyTokenizerJson(R"(["ab", "c"], )", "");
  json.replace(json.find(R"("ignore_merges": false)"), 22, R"("ignore_merges": true)");
  const auto tokenizer = Tokenizer::FromJson(json, "");
  REQUIRE(tokenizer.ok());
  CHECK(Encode(**tokenizer, "abc") == Ids{257});
}

TEST_CASE("The scan and the heap merge alike", "[tokenizer]") {
  // A random vocabulary of which most pairs merge.
  std::mt19937 random(7);
  BpeSpec spec;
  for (int b = 0; b < 256; ++b) spec.token_bytes.push_back(std::string(1, static_cast<char>(b)));
  for (int i = 0; i < 300; ++i) {
    const auto pick = [&]() -> int32_t {
      const int32_t n = static_cast<int32_t>(spec.token_bytes.size()) - 252;
      const int32_t k = static_cast<int32_t>(random() % n);
      return k < 4 ? 'a' + k : 252 + k;
    };
    const BpeMerge merge{pick(), pick(), static_cast<int32_t>(spec.token_bytes.size())};
    spec.token_bytes.push_back(spec.token_bytes[merge.left] + spec.token_bytes[merge.right]);
    spec.merges.push_back(merge);
  }
  spec.in_bpe.assign(spec.token_bytes.size(), 1);
  const auto bpe = Bpe::Create(spec);
  REQUIRE(bpe.ok());
  for (int i = 0; i < 2000; ++i) {
    std::string word(random() % 120, 'a');
    for (char& c : word) c = static_cast<char>('a' + random() % 4);
    Ids scan, heap, both;
    (*bpe)->MergeByScan(word, &scan);
    (*bpe)->MergeByHeap(word, &heap);
    (*bpe)->Encode(word, &both);
    REQUIRE(scan == heap);
    REQUIRE(both == heap);
  }
}

TEST_CASE("Special tokens in user text stay text", "[tokenizer]") {
  const auto t = Tiny();
  CHECK(Encode(*t, "x<s>y") == Ids{'x', 260, 'y'});
  CHECK(Encode(*t, "x<s>y", false) == Ids{'x', '<', 's', '>', 'y'});
  CHECK(Encode(*t, "<tool>", false) == Ids{261});  // added, but no control token
  const TextSpan spans[] = {{"<s>x", true}, {"<s>", false}, {"<s>", true}};
  CHECK(*t->EncodeSpans(spans, false) == Ids{260, 'x', '<', 's', '>', 260});
}

TEST_CASE("A special token does not arise across spans", "[tokenizer]") {
  const auto t = Tiny();
  const TextSpan forged[] = {{"<", true}, {"s>", false}};
  CHECK(*t->EncodeSpans(forged, false) == Ids{'<', 's', '>'});
  const TextSpan tail[] = {{"<", false}, {"s>x", true}};
  CHECK(*t->EncodeSpans(tail, false) == Ids{'<', 's', '>', 'x'});
  const TextSpan own[] = {{"<", true}, {"s>", true}};
  CHECK(*t->EncodeSpans(own, false) == Ids{260});
}

TEST_CASE("Spans keep their kind in normalized text too", "[tokenizer]") {
  std::string json = TinyTokenizerJson(R"("special": true, "normalized": false)",
                                       R"("special": true, "normalized": true)");
  json.replace(json.find(R"("normalizer": null)"), 18, R"("normalizer": {"type": "NFC"})");
  const auto t = Tokenizer::FromJson(json, "");
  REQUIRE(t.ok());
  // e + U+0301 becomes U+00E9, so the ends of the spans move.
  const TextSpan spans[] = {{"e\xCC\x81<s>", false}, {"<s>", true}};
  CHECK(*(*t)->EncodeSpans(spans, false) == Ids{0xC3, 0xA9, '<', 's', '>', 260});
}

TEST_CASE("Added tokens strip white space and respect words", "[tokenizer]") {
  const auto strip = Tiny(kAddedS, AddedS(R"("lstrip": true, "rstrip": true)"));
  CHECK(Encode(*strip, "x \t<s>\n y") == Ids{'x', 260, 'y'});
  CHECK(Encode(*strip, "<s> <s>") == Ids{260, 260});
  const auto word = Tiny(kAddedS, AddedS(R"("single_word": true)"));
  CHECK(Encode(*word, "x<s>") == Ids{'x', '<', 's', '>'});
  CHECK(Encode(*word, "\xC3\xA9<s>") == Ids{0xC3, 0xA9, '<', 's', '>'});
  CHECK(Encode(*word, "-<s>-") == Ids{'-', 260, '-'});
}

TEST_CASE("Split behaviors cut as the tokenizers library does", "[tokenizer]") {
  // The words show in which "ab" may merge. Expected values: tokenizers.pre_tokenizers.Split.
  const auto with = [](const std::string& behavior, const std::string& invert) {
    return Tiny(
        R"({"type": "ByteLevel","add_prefix_space": false, "use_regex": true})",
        R"({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"String": "b"},)"
        R"("behavior": ")" +
            behavior + R"(", "invert": )" + invert +
            R"(}, {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]})");
  };
  CHECK(Encode(*with("Isolated", "false"), "ababc") == Ids{'a', 'b', 'a', 'b', 'c'});
  CHECK(Encode(*with("Removed", "false"), "ababc") == Ids{'a', 'a', 'c'});
  CHECK(Encode(*with("Removed", "true"), "ababc") == Ids{'b', 'b'});
  CHECK(Encode(*with("MergedWithPrevious", "false"), "ababc") == Ids{256, 256, 'c'});
  CHECK(Encode(*with("MergedWithNext", "false"), "ababc") == Ids{'a', 'b', 'a', 259});
  CHECK(Encode(*with("Contiguous", "false"), "abbc") == Ids{'a', 'b', 'b', 'c'});
}

TEST_CASE("A prefix space is added where the file wants it", "[tokenizer]") {
  const auto t = Tiny(R"("add_prefix_space": false)", R"("add_prefix_space": true)");
  CHECK(Encode(*t, "a") == Ids{258});
  CHECK(Encode(*t, " a") == Ids{258});
  CHECK(Encode(*t, "a<s>a") == Ids{258, 260, 258});
}

TEST_CASE("A template puts tokens around the text", "[tokenizer]") {
  const auto t = Tiny(
      R"("post_processor": null)",
      R"("post_processor": {"type": "Sequence", "processors": [{"type": "ByteLevel"},)"
      R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},)"
      R"({"Sequence": {"id": "A", "type_id": 0}}], "pair": [],)"
      R"("special_tokens": {"<s>": {"id": "<s>", "ids": [260], "tokens": ["<s>"]}}}]})");
  CHECK(*t->Encode("x", {.add_special_tokens = true}) == Ids{260, 'x'});
  CHECK(*t->Encode("x", {.add_special_tokens = false}) == Ids{'x'});
}

TEST_CASE("Token access", "[tokenizer]") {
  const auto t = Tokenizer::FromJson(TinyTokenizerJson(),
                                     R"({"bos_token": {"content": "<s>"}, "eos_token": "<tool>"})");
  REQUIRE(t.ok());
  CHECK((*t)->vocab_size() == 262);
  CHECK((*t)->bos_id() == 260);
  CHECK((*t)->eos_id() == 261);
  CHECK((*t)->IsSpecial(260));
  CHECK_FALSE((*t)->IsSpecial(261));
  CHECK((*t)->FindToken("<s>") == 260);
  CHECK((*t)->FindToken("abc") == 257);
  CHECK((*t)->FindToken("nothing") == -1);
  CHECK((*t)->TokenBytes(258) == " a");
  for (const int32_t id : {-1, 262, INT32_MIN, INT32_MAX}) {
    CHECK((*t)->TokenBytes(id).empty());
    CHECK_FALSE((*t)->IsSpecial(id));
  }
  CHECK((*t)->Decode(Ids{260, 'x', 0xE2, 0x82, 'y', -5, 0xF0}, true) ==
        "x\xEF\xBF\xBDy\xEF\xBF\xBD");
}

TEST_CASE("Unknown components are errors that name them", "[tokenizer]") {
  const auto has = [](const std::string& text, const std::string& part) {
    INFO(text);
    CHECK(text.find(part) != std::string::npos);
  };
  has(LoadError(R"("type": "BPE")", R"("type": "Unigram")"), "Unigram");
  has(LoadError(R"("normalizer": null)", R"("normalizer": {"type": "Lowercase"})"), "Lowercase");
  has(LoadError(R"({"type": "ByteLevel","add)", R"({"type": "Metaspace","add)"), "Metaspace");
  has(LoadError(R"("post_processor": null)", R"("post_processor": {"type": "BertProcessing"})"),
      "BertProcessing");
  has(LoadError(R"("decoder": {"type": "ByteLevel"})", R"("decoder": {"type": "Fuse"})"), "Fuse");
  has(LoadError(R"("dropout": null)", R"("dropout": 0.1)"), "dropout");
  has(LoadError(R"("dropout": null)", R"("end_of_word_suffix": "</w>")"), "end_of_word_suffix");
  has(LoadError(R"("a b")", R"("a zz")"), "zz");
  has(LoadError(R"("id": 260)", R"("id": 99999999999)"), "token id");
  has(LoadError(R"("id": 260)", R"("id": 97)"), "<s>");
  has(LoadError(R"("unk_token": null)", R"("unk_token": "<nope>")"), "<nope>");
  has(LoadError(
          R"({"type": "ByteLevel","add)",
          R"({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "(["},)"
          R"("behavior": "Isolated"}, {"type": "ByteLevel"}], "add)"),
      "([");
}

TEST_CASE("A cut or garbled tokenizer.json is an error or a tokenizer, never a crash",
          "[tokenizer]") {
  const std::string json = TinyTokenizerJson();
  for (size_t size = 0; size < json.size(); size += 7) {
    REQUIRE_FALSE(Tokenizer::FromJson(json.substr(0, size), "").ok());
  }
  std::mt19937 random(3);
  for (int i = 0; i < 300; ++i) {
    std::string garbled = json;
    for (int k = 0; k < 3; ++k) {
      garbled[random() % garbled.size()] = R"(0{}[]",:nt-)"[random() % 11];
    }
    const auto t = Tokenizer::FromJson(garbled, "");
    if (t.ok()) CHECK((*t)->Encode("x abc <s> 12").ok());
  }
}

TEST_CASE("Long runs and hostile patterns end", "[tokenizer]") {
  const auto t = Tiny();
  for (const char c : {'a', ' ', '\n', '1'}) {
    const std::string text(1 << 20, c);
    CHECK(t->Decode(Encode(*t, text), false) == text);
  }
  const auto slow = Tiny(R"({"type": "ByteLevel","add_prefix_space": false, "use_regex": true})",
                         R"({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern":)"
                         R"({"Regex": "(a|a|aa)+$"}, "behavior": "Isolated"},)"
                         R"({"type": "ByteLevel", "add_prefix_space": false}]})");
  const auto ids = slow->Encode(std::string(5000, 'a') + "b");
  CHECK(absl::IsResourceExhausted(ids.status()));
}

TEST_CASE("Threads share a tokenizer", "[tokenizer]") {
  const auto t = Tiny();
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (int k = 0; k < 4; ++k) {
    threads.emplace_back([&, k] {
      std::mt19937 random(k);
      for (int i = 0; i < 500; ++i) {
        std::string text(random() % 40, 'a');
        for (char& c : text) c = "abc "[random() % 4];
        const auto ids = t->Encode(text);
        wrong[k] += !ids.ok() || t->Decode(*ids, false) != text;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(4, 0));
}

}  // namespace lynx::test
