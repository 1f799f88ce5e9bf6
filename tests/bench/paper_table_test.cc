// The paper's table on virtual time: what its figures must add up to.
#include "bench/paper_table.h"

#include <catch2/catch.hpp>
#include <random>

namespace lynx::bench {
namespace {

constexpr double kLinkBitsPerS = 2e6;
constexpr auto kStep = std::chrono::milliseconds(5);

PaperTableOptions Options(int concurrency) {
  PaperTableOptions options;
  options.formats = *ParseFormats({"int8", "lynx"}, KvTarget::kInt8);
  options.link_bits_per_s = kLinkBitsPerS;
  options.prompt_tokens = 512;
  options.concurrency = concurrency;
  options.runs = 1;
  // The link is what limits.
  options.virtual_machines = {.prefill_tokens_per_s = 1e6, .decode_step = kStep};
  return options;
}

std::vector<PaperRow> Run(const PaperTableOptions& options, const LoadedModel& model) {
  std::mt19937 rng(1);
  TokenIds text;
  for (int i = 0; i < 5000; ++i) text.push_back(static_cast<int32_t>(rng() % model.config.vocab));
  const auto rows =
      RunPaperTable(options, CutPrompts(text, options.prompt_tokens, options.concurrency), model);
  INFO(rows.status());
  REQUIRE(rows.ok());
  return *rows;
}

TEST_CASE("paper table on virtual time: times are bytes over the link") {
  const auto model = LoadModel(std::string(LYNX_TEST_DATA) + "/models/tiny-llama.gguf");
  REQUIRE(model.ok());
  const std::vector<PaperRow> rows = Run(Options(1), *model);
  const PaperRow& int8 = rows[0];
  const PaperRow& lynx = rows[1];
  const double step_s = std::chrono::duration<double>(kStep).count();
  const auto on_link = [](double bytes) { return bytes * 8 / kLinkBitsPerS; };
  // Frames' headers, the step and the Residual frame that were under way.
  const auto about = [&](double s) { return Approx(s).epsilon(0).margin(0.02 * s + 3 * step_s); };
  REQUIRE(on_link(int8.anchor_bytes) > 20 * step_s);
  REQUIRE(int8.second_token_committed_s == about(on_link(int8.anchor_bytes)));
  REQUIRE(int8.second_token_provisional_s == int8.second_token_committed_s);
  REQUIRE(lynx.second_token_provisional_s == about(on_link(lynx.anchor_bytes)));
  REQUIRE(lynx.second_token_committed_s == about(on_link(lynx.anchor_bytes + lynx.residual_bytes)));
  REQUIRE(lynx.drafted > 0);
  REQUIRE(lynx.second_token_committed_p99_s == lynx.second_token_committed_s);  // one request
}

TEST_CASE("paper table on virtual time: overlapping requests") {
  const auto model = LoadModel(std::string(LYNX_TEST_DATA) + "/models/tiny-llama.gguf");
  REQUIRE(model.ok());
  PaperTableOptions options = Options(4);
  const std::vector<PaperRow> rows = Run(options, *model);
  for (const PaperRow& row : rows) {
    REQUIRE(row.second_token_committed_p99_s > row.second_token_committed_s);
  }
  // All Anchors first: provisional tokens come sooner, committed ones later.
  options.residual_max_wait = std::chrono::hours(1);
  const std::vector<PaperRow> patient = Run(options, *model);
  REQUIRE(patient[1].second_token_provisional_s < rows[1].second_token_provisional_s);
  REQUIRE(patient[1].second_token_committed_s > rows[1].second_token_committed_s);
  REQUIRE(patient[0].second_token_committed_s == rows[0].second_token_committed_s);
}

}  // namespace
}  // namespace lynx::bench
