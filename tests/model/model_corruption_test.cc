// Damaged model files: an error or a load, never a crash. Run under AddressSanitizer, too.
#include <spdlog/spdlog.h>

#include <catch2/catch.hpp>
#include <random>

#include "model/gguf_config.h"
#include "model/loader.h"
#include "tests/model/gguf_builder.h"
#include "tests/model/temp_folder.h"

namespace lynx {
namespace {

const std::string kModels = LYNX_TEST_DATA "/models/";

absl::Status LoadGgufBytes(std::string_view bytes) {
  ASSIGN_OR_RETURN(GgufFile file, GgufFile::Parse(AsBytes(bytes)));
  ASSIGN_OR_RETURN(ModelConfig config, ConfigFromGguf(file));
  return LoadWeights(config, SourceFromGguf(file, config)).status();
}

// Flips 1 to 8 bits in the first `size` bytes.
std::string Flip(std::string bytes, size_t size, uint32_t seed) {
  std::mt19937 random(seed);
  for (uint32_t flips = 1 + random() % 8; flips > 0; --flips)
    bytes[random() % size] ^= static_cast<char>(1 << random() % 8);
  return bytes;
}

class Quiet {
 public:
  Quiet() { spdlog::set_level(spdlog::level::err); }
  ~Quiet() { spdlog::set_level(spdlog::level::info); }
};

TEST_CASE("corruption: a GGUF model that ends anywhere is an error") {
  const std::string whole = TempFolder::ReadWholeFile(kModels + "tiny-llama.gguf");
  auto file = GgufFile::Parse(AsBytes(whole));
  REQUIRE(file.ok());
  const auto header = static_cast<size_t>(file->tensors()[0].data.data() - AsBytes(whole).data());
  // Every byte of the header, from exact copies; then every 61st of the data.
  for (size_t size = 0; size < whole.size(); size += size < header ? 1 : 61) {
    std::vector<char> part(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
    REQUIRE_FALSE(GgufFile::Parse(AsBytes({part.data(), part.size()})).ok());
  }
}

TEST_CASE("corruption: flipped bits of a GGUF header") {
  Quiet quiet;
  for (const char* name : {"tiny-llama.gguf", "tiny-qwen2.gguf"}) {
    const std::string whole = TempFolder::ReadWholeFile(kModels + name);
    const auto header = static_cast<size_t>(
        GgufFile::Parse(AsBytes(whole))->tensors()[0].data.data() - AsBytes(whole).data());
    REQUIRE(LoadGgufBytes(whole).ok());
    int refused = 0;
    for (uint32_t seed = 0; seed < 500; ++seed)
      refused += !LoadGgufBytes(Flip(whole, header, seed)).ok();
    CHECK(refused > 0);
    CHECK(refused < 500);  // some flips change only a token's text
  }
}

TEST_CASE("corruption: flipped bits of a safetensors header") {
  Quiet quiet;
  const std::string whole =
      TempFolder::ReadWholeFile(kModels + "tiny-qwen2/model-00001-of-00002.safetensors");
  uint64_t header;
  std::memcpy(&header, whole.data(), sizeof(header));
  int refused = 0;
  for (uint32_t seed = 0; seed < 1000; ++seed)
    refused += !ParseSafetensors(AsBytes(Flip(whole, 8 + header, seed))).ok();
  CHECK(refused > 0);
}

TEST_CASE("corruption: flipped bits of a folder's config.json") {
  Quiet quiet;
  TempFolder folder;
  folder.CopyFrom(kModels + "tiny-qwen2");
  const std::string config = folder.Read("config.json");
  int refused = 0;
  for (uint32_t seed = 0; seed < 200; ++seed) {
    folder.Write("config.json", Flip(config, config.size(), seed));
    refused += !LoadModel(folder.path()).ok();
  }
  CHECK(refused > 0);
}

}  // namespace
}  // namespace lynx
