// The contract on real models and real text: lengths around page borders, both targets, slow and
// fast links.
#include <fstream>
#include <sstream>

#include "model/tokenizer.h"
#include "tests/e2e/pair_fixture.h"

namespace lynx {
namespace {

std::vector<int32_t> TextTokens(const LoadedModel& model) {
  std::ifstream file(LYNX_SOURCE_DIR "/bench/bench_text.txt");
  std::stringstream text;
  text << file.rdbuf();
  auto tokenizer = Tokenizer::FromGguf(*model.files.gguf);
  REQUIRE(tokenizer.ok());
  auto tokens = (*tokenizer)->Encode(text.str(), {});
  REQUIRE(tokens.ok());
  REQUIRE(tokens->size() >= 1000);
  return *tokens;
}

struct RealCase {
  int64_t prompt_tokens;
  KvTarget target;
  KvSplit split;
  uint64_t link_mbit;
  double temperature;
};

void RunCases(PairFixture& fixture, std::span<const RealCase> cases) {
  const std::vector<int32_t> text = TextTokens(fixture.model());
  int64_t drafted = 0, accepted = 0;
  int seed = 1;
  for (const RealCase& real : cases) {
    const Case c{.target = real.target,
                 .split = real.split,
                 .link_bytes_per_s = real.link_mbit * 125'000,
                 .chunk_tokens = seed % 2 == 0 ? 512 : 128,
                 .max_draft_tokens = 32};
    CAPTURE(real.prompt_tokens, KvTargetName(real.target), real.link_mbit, real.temperature);
    v1::GenerateRequest request =
        fixture.Request({text.begin() + seed, text.begin() + seed + real.prompt_tokens}, 24);
    request.set_ignore_eos(true);
    request.set_logprobs(2);
    request.mutable_sampling()->set_temperature(real.temperature);
    request.mutable_sampling()->set_top_p(0.95);
    request.mutable_sampling()->set_seed(seed++);
    std::unique_ptr<VirtualPair> pair = fixture.Pair(c);
    const Collected& got = pair->Submit(request);
    REQUIRE(pair->Run().ok());
    RequireEqual(got, fixture.Reference(request, c));
    if (real.target == KvTarget::kBf16) RequireEqual(got, fixture.Reference(request, c, true));
    drafted += got.finished.stats().drafted();
    accepted += got.finished.stats().accepted();
  }
  CHECK(drafted > 0);
  CHECK(accepted > 0);
}

}  // namespace

TEST_CASE("SmolLM2 equals its reference") {
  PairFixture fixture(LYNX_SOURCE_DIR "/models/smollm2-135m-instruct.gguf", 2);
  const RealCase cases[] = {
      {1, KvTarget::kInt8, {5, 4}, 20, 0},    {63, KvTarget::kBf16, {5, 4}, 1000, 0.8},
      {64, KvTarget::kInt8, {4, 4}, 20, 0.8}, {65, KvTarget::kBf16, {6, 5}, 20, 0},
      {500, KvTarget::kInt8, {5, 4}, 20, 0},  {500, KvTarget::kBf16, {4, 4}, 100, 0.8}};
  RunCases(fixture, cases);
}

TEST_CASE("Qwen2.5 equals its reference") {
  PairFixture fixture(LYNX_SOURCE_DIR "/models/qwen2.5-coder-0.5b-instruct.gguf", 2);
  const RealCase cases[] = {{130, KvTarget::kInt8, {5, 4}, 20, 0.8},
                            {200, KvTarget::kBf16, {5, 4}, 20, 0}};
  RunCases(fixture, cases);
}

}  // namespace lynx
