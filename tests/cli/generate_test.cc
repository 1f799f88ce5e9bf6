// `lynx generate` equals `lynx generate --reference`, over real threads and sockets.
#include "cli/generate.h"

#include <catch2/catch.hpp>
#include <random>

#include "bench/engine_bench.h"
#include "bench/paper_table.h"
#include "gateway/model_text.h"

namespace lynx {
namespace {

struct Loaded {
  explicit Loaded(const std::string& name) {
    const std::string path = LYNX_TEST_DATA "/models/" + name;
    auto loaded = LoadModel(path);
    INFO(loaded.status());
    REQUIRE(loaded.ok());
    model = std::make_unique<LoadedModel>(*std::move(loaded));
    auto loaded_text = LoadTextModel(path);
    REQUIRE(loaded_text.ok());
    text = *std::move(loaded_text);
  }
  std::unique_ptr<LoadedModel> model;
  std::unique_ptr<const TextModel> text;
};

std::vector<int32_t> Prompt(const Loaded& loaded, int64_t tokens, uint32_t seed) {
  std::mt19937 rng(seed);
  std::vector<int32_t> prompt;
  for (int64_t i = 0; i < tokens; ++i) {
    prompt.push_back(static_cast<int32_t>(rng() % loaded.model->config.vocab));
  }
  return prompt;
}

GenerateResult Run(const Loaded& loaded, const GenerateOptions& options,
                   const std::vector<int32_t>& prompt) {
  std::string streamed;
  auto result = Generate(options, prompt, *loaded.model, *loaded.text,
                         [&](std::string_view piece) { streamed += piece; });
  INFO(result.status());
  REQUIRE(result.ok());
  CHECK(streamed == result->text);
  return *std::move(result);
}

}  // namespace

TEST_CASE("two engines generate what the reference does") {
  struct Variant {
    const char* model;
    int64_t prompt_tokens;
    KvTarget target;
    KvSplit split;
    double temperature;
    double top_p;
    double link_bits_per_s;
  };
  const Variant variants[] = {
      {"tiny-llama.gguf", 1, KvTarget::kInt8, {5, 4}, 0, 1, 0},
      {"tiny-llama.gguf", 64, KvTarget::kInt8, {4, 4}, 0, 1, 2e6},
      {"tiny-llama.gguf", 200, KvTarget::kInt8, {3, 3}, 0.8, 1, 1e6},
      {"tiny-llama.gguf", 300, KvTarget::kBf16, {5, 4}, 0, 1, 2e6},
      {"tiny-llama.gguf", 130, KvTarget::kInt4Whole, {5, 4}, 0.8, 0.9, 0},
      {"tiny-qwen2.gguf", 63, KvTarget::kInt8, {6, 5}, 1.2, 1, 0},
      {"tiny-qwen2.gguf", 257, KvTarget::kInt8, {7, 7}, 0.8, 0.95, 2e6},
      {"tiny-qwen2.gguf", 192, KvTarget::kBf16, {3, 7}, 0.8, 1, 1e6},
      {"tiny-qwen2", 128, KvTarget::kInt8Whole, {5, 4}, 0, 1, 2e6},
      {"tiny-llama", 128, KvTarget::kBf16Whole, {5, 4}, 0.5, 1, 0},
  };
  int64_t drafted = 0;
  uint32_t seed = 1;
  for (const Variant& v : variants) {
    CAPTURE(v.model, v.prompt_tokens, v.split.k_bits, v.split.v_bits, v.temperature);
    const Loaded loaded(v.model);
    GenerateOptions options;
    options.target = v.target;
    options.split = v.split;
    options.link_bits_per_s = v.link_bits_per_s;
    options.max_tokens = 24;
    options.sampling.temperature = v.temperature;
    options.sampling.top_p = v.top_p;
    options.sampling.seed = ++seed;
    options.ignore_eos = seed % 2 == 0;
    const std::vector<int32_t> prompt = Prompt(loaded, v.prompt_tokens, seed);
    const GenerateResult pair = Run(loaded, options, prompt);
    options.reference = true;
    const GenerateResult reference = Run(loaded, options, prompt);
    CHECK(pair.tokens == reference.tokens);
    CHECK(pair.text == reference.text);
    CHECK(pair.first_token_s.has_value());
    CHECK(pair.accepted + pair.rolled_back == pair.drafted);
    CHECK((pair.anchor_bytes > 0) == (v.prompt_tokens > 1 || pair.tokens.size() > 1));
    drafted += pair.drafted;
  }
  CHECK(drafted > 0);  // the slow links leave time for it
}

TEST_CASE("what cannot be generated is refused with a reason") {
  const Loaded loaded("tiny-llama.gguf");
  GenerateOptions options;
  const auto code = [&](const std::vector<int32_t>& prompt) {
    return Generate(options, prompt, *loaded.model, *loaded.text).status().code();
  };
  CHECK(code({}) == absl::StatusCode::kInvalidArgument);
  options.max_tokens = loaded.model->config.max_context;
  CHECK(code({1}) == absl::StatusCode::kInvalidArgument);
  options.max_tokens = 4;
  options.sampling.top_p = 2;
  CHECK(code({1}) == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("bench engine measures, at a depth too") {
  const Loaded loaded("tiny-qwen2.gguf");
  bench::EngineBenchOptions options;
  options.prompt_tokens = 100;
  options.generated_tokens = 3;
  options.repetitions = 2;
  for (KvTarget target : {KvTarget::kInt8, KvTarget::kBf16, KvTarget::kInt8Whole,
                          KvTarget::kInt4Whole, KvTarget::kBf16Whole}) {
    options.target = target;
    options.depth = 150;
    const auto result = bench::RunEngineBench(options, *loaded.model);
    INFO(result.status());
    REQUIRE(result.ok());
    CHECK(result->pp_tokens_per_s > 0);
    CHECK(result->tg_tokens_per_s > 0);
  }
  options.depth = loaded.model->config.max_context;
  CHECK_FALSE(bench::RunEngineBench(options, *loaded.model).ok());
}

TEST_CASE("bench transfer fills a row for every format") {
  const Loaded loaded("tiny-llama.gguf");
  bench::PaperTableOptions options;
  options.formats = *bench::ParseFormats({"bf16", "int8", "int4", "lynx"}, KvTarget::kInt8);
  options.prompt_tokens = 130;
  options.concurrency = 2;
  options.runs = 1;
  options.link_bits_per_s = 4e6;
  const auto rows = bench::RunPaperTable(options, {Prompt(loaded, 500, 1)}, *loaded.model);
  INFO(rows.status());
  REQUIRE(rows.ok());
  REQUIRE(rows->size() == 4);
  for (const bench::PaperRow& row : *rows) {
    CAPTURE(row.format);
    CHECK(row.first_token_s > 0);
    CHECK(row.second_token_committed_s >= row.second_token_provisional_s);
    CHECK(row.token64_committed_s >= row.token32_committed_s);
    CHECK(row.anchor_bytes > 0);
    CHECK((row.residual_bytes > 0) == (row.format == "lynx"));
  }
}

}  // namespace lynx
