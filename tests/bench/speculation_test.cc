// The speculation bench against the engines that it stands for.
#include "bench/speculation_bench.h"
#include "tests/e2e/pair_fixture.h"

namespace lynx::bench {
namespace {

constexpr int64_t kDrafts = 16;

// Drafts that a pair of engines accepts of the first kDrafts behind the prompt.
int64_t AcceptedByEngines(PairFixture& fixture, const BenchPrompt& prompt, KvSplit split,
                          const SamplingParams& sampling) {
  Case c;
  c.split = split;
  c.max_draft_tokens = kDrafts;
  c.link_bytes_per_s = 10'000;  // the Residual comes later than the last draft
  auto pair = fixture.Pair(c);
  v1::GenerateRequest request = fixture.Request(prompt.tokens, 2 * kDrafts);
  request.mutable_sampling()->set_temperature(sampling.temperature);
  request.mutable_sampling()->set_seed(sampling.seed);
  const Collected& got = pair->Submit(std::move(request));
  REQUIRE(pair->Run().ok());
  REQUIRE(got.status.ok());
  const v1::GenerateStats& stats = got.finished.stats();
  REQUIRE(stats.drafted() == kDrafts);
  return stats.accepted();
}

TEST_CASE("speculation bench: what it counts as accepted is what the engines accept") {
  PairFixture fixture(std::string(LYNX_TEST_DATA) + "/models/tiny-llama.gguf");
  const double temperature = GENERATE(0.0, 1.5);
  SpeculationOptions options;
  options.splits = {{3, 3}, {5, 4}};
  options.temperatures = {temperature};
  options.windows = {kDrafts};
  options.windows_per_prompt = 1;
  std::vector<BenchPrompt> prompts;
  for (uint64_t i = 0; i < 6; ++i) {
    prompts.push_back({.name = "", .tokens = fixture.Prompt(120 + 17 * i, i + 1)});
  }
  const auto result = RunSpeculationBench(options, prompts, fixture.model());
  INFO(result.status());
  REQUIRE(result.ok());
  REQUIRE(result->acceptance.size() == 2);
  for (size_t s = 0; s < 2; ++s) {
    int64_t accepted = 0;
    for (size_t i = 0; i < prompts.size(); ++i) {
      SamplingParams sampling;
      sampling.temperature = temperature;
      sampling.seed = i;
      accepted += AcceptedByEngines(fixture, prompts[i], options.splits[s], sampling);
    }
    const AcceptanceRow& row = result->acceptance[s];
    REQUIRE(row.windows == 6);
    REQUIRE(row.accepted.mean * 6 == Approx(accepted));
    if (s == 0) {  // a comparison of nothing but zeros or full windows would show little
      REQUIRE(accepted > 0);
      REQUIRE(accepted < 6 * kDrafts);
    }
  }
}

TEST_CASE("speculation bench: later windows are those of the longer prompt") {
  PairFixture fixture(std::string(LYNX_TEST_DATA) + "/models/tiny-llama.gguf");
  SpeculationOptions options;
  options.splits = {{3, 3}};
  options.temperatures = {0};
  options.windows = {kDrafts};
  const BenchPrompt prompt{.name = "", .tokens = fixture.Prompt(150, 3)};
  options.windows_per_prompt = 2;
  const auto both = RunSpeculationBench(options, {prompt}, fixture.model());
  REQUIRE(both.ok());
  options.windows_per_prompt = 1;
  const auto first = RunSpeculationBench(options, {prompt}, fixture.model());
  REQUIRE(first.ok());
  ReferenceResult text = fixture.Reference(fixture.Request(prompt.tokens, kDrafts + 1), Case{});
  REQUIRE(text.tokens.size() == kDrafts + 1);
  BenchPrompt longer = prompt;
  longer.tokens.insert(longer.tokens.end(), text.tokens.begin(), text.tokens.end());
  const auto second = RunSpeculationBench(options, {longer}, fixture.model());
  REQUIRE(second.ok());
  REQUIRE(both->acceptance[0].windows == 2);
  REQUIRE(both->acceptance[0].accepted.mean ==
          Approx((first->acceptance[0].accepted.mean + second->acceptance[0].accepted.mean) / 2));
}

TEST_CASE("speculation bench: bad prompts are refused") {
  PairFixture fixture(std::string(LYNX_TEST_DATA) + "/models/tiny-llama.gguf");
  REQUIRE(!RunSpeculationBench({}, {}, fixture.model()).ok());
  REQUIRE(!RunSpeculationBench({}, {{.name = "empty", .tokens = {}}}, fixture.model()).ok());
  const BenchPrompt longest{.name = "long",
                            .tokens = std::vector<int32_t>(fixture.model().config.max_context, 1)};
  REQUIRE(!RunSpeculationBench({}, {longest}, fixture.model()).ok());
}

}  // namespace
}  // namespace lynx::bench
