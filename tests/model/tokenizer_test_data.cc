#include "tests/model/tokenizer_test_data.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>

#include "model/gguf.h"
#include "model/tokenizer_utf8.h"

namespace lynx::test {
namespace {

// lines.txt: "\\\\" is a backslash, "\\xNN" a byte.
std::string Unescape(std::string_view line) {
  std::string out;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] != '\\') {
      out.push_back(line[i]);
    } else if (line.at(i + 1) == '\\') {
      out.push_back('\\');
      ++i;
    } else {
      out.push_back(static_cast<char>(std::stoi(std::string(line.substr(i + 2, 2)), nullptr, 16)));
      i += 3;
    }
  }
  return out;
}

std::unique_ptr<const Tokenizer> LoadGguf(const std::string& file) {
  const std::string path = std::string(LYNX_SOURCE_DIR) + "/models/" + file;
  const absl::StatusOr<GgufFile> gguf = GgufFile::Open(path);
  INFO("run tests/fetch-models.sh if the file is missing: " << gguf.status().ToString());
  REQUIRE(gguf.ok());
  auto tokenizer = Tokenizer::FromGguf(*gguf);
  INFO(tokenizer.status().ToString());
  REQUIRE(tokenizer.ok());
  return *std::move(tokenizer);
}

std::unique_ptr<const Tokenizer> LoadFolder(const std::string& name) {
  auto tokenizer = Tokenizer::FromFolder(std::string(LYNX_TOKENIZER_DIR) + "/" + name);
  INFO(tokenizer.status().ToString());
  REQUIRE(tokenizer.ok());
  return *std::move(tokenizer);
}

// How byte-level vocabularies write a byte, by the rule of GPT-2.
std::string ByteLevelEncode(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    const uint8_t b = static_cast<uint8_t>(c);
    const auto itself = [](int x) {
      return (x >= 33 && x <= 126) || (x >= 161 && x <= 172) || x >= 174;
    };
    int before = 0;
    for (int x = 0; x < b; ++x) before += itself(x) ? 0 : 1;
    AppendUtf8(itself(b) ? b : 256 + before, &out);
  }
  return out;
}

}  // namespace

std::string ReadFileOrFail(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  INFO(path);
  REQUIRE(file.good());
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::vector<std::string> SplitLines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

std::vector<std::string> TokenizerTexts() {
  std::vector<std::string> texts;
  for (const std::string& line :
       SplitLines(ReadFileOrFail(std::string(LYNX_TEST_DATA) + "/tokenizer/lines.txt"))) {
    texts.push_back(Unescape(line));
  }
  return texts;
}

const Tokenizer& NamedTokenizer(const std::string& name) {
  static std::map<std::string, std::unique_ptr<const Tokenizer>> loaded;
  std::unique_ptr<const Tokenizer>& tokenizer = loaded[name];
  if (tokenizer == nullptr) {
    if (name == "smollm2") {
      tokenizer = LoadGguf("smollm2-135m-instruct.gguf");
    } else if (name == "qwen2.5") {
      tokenizer = LoadGguf("qwen2.5-coder-0.5b-instruct.gguf");
    } else {
      tokenizer = LoadFolder(name);
    }
  }
  return *tokenizer;
}

std::string TinyTokenizerJson(std::string_view old_part, std::string_view new_part) {
  nlohmann::json vocab;
  for (int b = 0; b < 256; ++b) vocab[ByteLevelEncode(std::string(1, static_cast<char>(b)))] = b;
  const std::string space = ByteLevelEncode(" ");
  vocab["ab"] = 256;
  vocab["abc"] = 257;
  vocab[space + "a"] = 258;
  vocab["bc"] = 259;
  std::string json = R"({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [)"
                     R"({"id": 260, "content": "<s>", "special": true, "normalized": false},)"
                     R"({"id": 261, "content": "<tool>", "special": false, "normalized": true}],)"
                     R"("normalizer": null, "pre_tokenizer": {"type": "ByteLevel",)"
                     R"("add_prefix_space": false, "use_regex": true}, "post_processor": null,)"
                     R"("decoder": {"type": "ByteLevel"}, "model": {"type": "BPE",)"
                     R"("dropout": null, "unk_token": null, "ignore_merges": false,)"
                     R"("merges": ["a b", ["ab", "c"], ")" +
                     space + R"( a", "b c"], "vocab": )" + vocab.dump() + "}}";
  if (!old_part.empty()) {
    const size_t at = json.find(old_part);
    REQUIRE(at != std::string::npos);
    json.replace(at, old_part.size(), new_part);
  }
  return json;
}

}  // namespace lynx::test
