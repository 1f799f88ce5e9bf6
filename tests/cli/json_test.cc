// The forms that other programs read; docs/cli.md.
#include <catch2/catch.hpp>

#include "bench/engine_bench.h"
#include "bench/paper_plot.h"
#include "bench/paper_table.h"
#include "cli/generate.h"

namespace lynx {

TEST_CASE("generate --json") {
  GenerateResult result;
  result.tokens = {3, 1};
  result.text = "hé\n";
  result.first_token_s = 0.5;
  result.second_token_provisional_s = 0.75;
  result.second_token_committed_s = 1.0;
  result.total_s = 1.25;
  result.drafted = 4;
  result.accepted = 3;
  result.rolled_back = 1;
  result.anchor_bytes = 10;
  result.residual_bytes = 20;
  result.tail_bytes = 30;
  CHECK(GenerateJson(result).dump() ==
        R"({"tokens":[3,1],"text":"hé\n","timings":{"first_token_s":0.5,)"
        R"("second_token_provisional_s":0.75,"second_token_committed_s":1.0,"total_s":1.25},)"
        R"("speculation":{"drafted":4,"accepted":3,"rolled_back":1},)"
        R"("bytes":{"anchor":10,"residual":20,"tail":30}})");
}

TEST_CASE("generate --json without a second token") {
  GenerateResult result;
  result.tokens = {3};
  result.first_token_s = 0.5;
  CHECK(GenerateJson(result)["timings"].dump() ==
        R"({"first_token_s":0.5,"second_token_provisional_s":null,)"
        R"("second_token_committed_s":null,"total_s":0.0})");
}

TEST_CASE("bench engine --json") {
  bench::EngineBenchResult result;
  result.options.threads = 2;
  result.options.depth = 64;
  result.pp_tokens_per_s = 1.5;
  result.tg_tokens_per_s = 2.5;
  CHECK(bench::EngineBenchJson(result).dump() ==
        R"({"pp_tokens_per_s":1.5,"tg_tokens_per_s":2.5,"threads":2,"depth":64})");
}

TEST_CASE("bench transfer: formats, --json and --plot") {
  bench::PaperTableOptions options;
  options.link_bits_per_s = 1e8;
  const std::vector<bench::PaperRow> rows = {{.format = "lynx",
                                              .first_token_s = 1,
                                              .second_token_provisional_s = 2,
                                              .second_token_committed_s = 3,
                                              .token32_committed_s = 4,
                                              .token64_committed_s = 5,
                                              .drafted = 6,
                                              .accepted = 5.5,
                                              .anchor_bytes = 100,
                                              .residual_bytes = 50}};
  CHECK(bench::PaperTableJson(options, rows).dump() ==
        R"({"rows":[{"format":"lynx","prompt_tokens":2048,"link_bps":100000000.0,)"
        R"("concurrency":1,"first_token_s":1.0,"second_token_provisional_s":2.0,)"
        R"("second_token_committed_s":3.0,"token32_committed_s":4.0,"token64_committed_s":5.0,)"
        R"("drafted":6.0,"accepted":5.5,"anchor_bytes":100.0,"residual_bytes":50.0}]})");
  const std::string svg = bench::PlotPaperTable(options, rows);
  CHECK(svg.find("<svg") == 0);
  CHECK(svg.find("64th committed: 5.000 s") != std::string::npos);
  CHECK(svg.rfind("</svg>\n") == svg.size() - 7);

  const auto formats = bench::ParseFormats({"int8", "lynx"}, KvTarget::kBf16);
  REQUIRE(formats.ok());
  CHECK((*formats)[0].target == KvTarget::kInt8Whole);
  CHECK((*formats)[1].target == KvTarget::kBf16);
  CHECK_FALSE(bench::ParseFormats({"int9"}, KvTarget::kInt8).ok());
}

}  // namespace lynx
