// The product of everything that must not change a text, against the reference: the whole of it, a
// part, a random sample, or a covering set (every pair of values of every two dimensions).
// docs/exactness.md says how it is used.
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <random>
#include <span>

#include "cli/units.h"
#include "model/kv_format.h"
#include "tests/e2e/covering_set.h"
#include "tests/e2e/product_bed.h"

namespace lynx {
namespace {

struct Arguments {
  std::string model;
  std::string text = LYNX_SOURCE_DIR "/bench/bench_text.txt";
  int threads = 1;
  int64_t max_tokens = 16;
  std::vector<int64_t> prompt_tokens = {1, 63, 64, 65, 500, 3000};
  std::vector<std::string> anchor_bits = {"5,4", "4,4", "6,5", "3,3", "7,7", "3,7", "7,3"};
  std::vector<std::string> targets = {"int8", "bf16"};
  std::vector<double> temperatures = {0, 0.8};
  std::vector<double> links_mbit = {20, 1000};
  std::vector<int> choices = {1, 3};
  std::vector<int> batches = {1, 8};
  std::vector<int64_t> chunks_tokens = {512, 64, 100};
  bool covering = false;
  int64_t sample = 0;
  uint64_t seed = 1;
  int64_t part = 1;
  int64_t parts = 1;
  double seconds = 0;
  bool verbose = false;
};

// Digits of a number in the product's mixed base. The last dimensions vary fastest; those that the
// reference knows nothing of are put there, so that it is computed once for all of them.
CoveringRow RowAt(std::span<const int> shape, int64_t index) {
  constexpr int kSlowestFirst[] = {0, 2, 3, 4, 5, 6, 9, 7, 8, 1, 10, 11, 12};
  CoveringRow row(shape.size());
  for (size_t k = shape.size(); k-- > 0;) {
    const int d = kSlowestFirst[k];
    row[d] = static_cast<int>(index % shape[d]);
    index /= shape[d];
  }
  return row;
}

struct Plan {
  int64_t cases = 0;
  std::function<CoveringRow(int64_t)> row;
  bool varied = false;  // each case on a text of its own
};

Plan MakePlan(const Arguments& a, const std::vector<int>& shape) {
  int64_t product = 1;
  for (int levels : shape) product *= levels;
  if (a.covering) {
    auto rows = CoveringSet(shape, a.seed);
    const auto count = static_cast<int64_t>(rows.size());
    return {count, [rows = std::move(rows)](int64_t i) { return rows[i]; }, true};
  }
  if (a.sample > 0) {
    auto rng = std::make_shared<std::mt19937_64>(a.seed);
    return {a.sample,
            [=](int64_t) { return RowAt(shape, static_cast<int64_t>((*rng)() % product)); }, true};
  }
  const int64_t begin = product * (a.part - 1) / a.parts;
  return {product * a.part / a.parts - begin, [=](int64_t i) { return RowAt(shape, begin + i); },
          false};
}

absl::StatusOr<ProductLevels> LevelsOf(const Arguments& a) {
  ProductLevels levels;
  levels.prompt_tokens = a.prompt_tokens;
  levels.temperatures = a.temperatures;
  levels.links_mbit = a.links_mbit;
  levels.choices = a.choices;
  levels.batches = a.batches;
  for (const std::string& bits : a.anchor_bits) {
    ASSIGN_OR_RETURN(const KvSplit split, ParseAnchorBits(bits));
    levels.splits.push_back(split);
  }
  for (const std::string& name : a.targets) {
    ASSIGN_OR_RETURN(const KvTarget target, ParseKvTarget(name));
    levels.targets.push_back(target);
  }
  return levels;
}

// Nothing drafted, accepted or rolled back proves nothing.
bool Exercised(const ProductTotals& t) {
  return t.drafted > 0 && t.accepted > 0 && t.rolled_back > 0;
}

absl::StatusOr<bool> Run(const Arguments& a) {
  ASSIGN_OR_RETURN(const ProductLevels levels, LevelsOf(a));
  ASSIGN_OR_RETURN(const std::unique_ptr<ProductBed> bed,
                   ProductBed::Make(a.model, a.text, a.threads));
  const Plan plan = MakePlan(a, ProductShape(levels));
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  int64_t different = 0, done = 0;
  for (; done < plan.cases && (a.seconds == 0 || elapsed() < a.seconds); ++done) {
    ProductCase c = ProductCaseAt(levels, plan.row(done));
    c.max_tokens = a.max_tokens;
    c.chunk_tokens = a.chunks_tokens[done % a.chunks_tokens.size()];
    if (plan.varied) c.variety = done;
    const double before = elapsed();
    const absl::Status status = bed->Run(c);
    if (a.verbose || !status.ok()) {
      std::printf("%s case %lld (%.1f s): %s\n", status.ok() ? "equal" : "DIFFERENT",
                  static_cast<long long>(done), elapsed() - before, Describe(c).c_str());
      std::fflush(stdout);
    }
    if (status.ok()) continue;
    ++different;
    std::printf("  %.*s\n", static_cast<int>(std::min<size_t>(status.message().size(), 4000)),
                status.message().data());
    if (absl::IsDeadlineExceeded(status)) return status;  // the gateway is of no use any more
  }
  const ProductTotals& t = bed->totals();
  std::printf(
      "%lld of %lld cases, %lld different, %.0f s; drafted %lld, accepted %lld, rolled back %lld\n",
      static_cast<long long>(done), static_cast<long long>(plan.cases),
      static_cast<long long>(different), elapsed(), static_cast<long long>(t.drafted),
      static_cast<long long>(t.accepted), static_cast<long long>(t.rolled_back));
  return different == 0 && (!a.covering || Exercised(t));
}

void AddOptions(CLI::App& app, Arguments& a) {
  app.add_option("--model", a.model, "A GGUF file or a folder")->required();
  app.add_option("--text", a.text, "File that prompts are cut from")->capture_default_str();
  app.add_option("--threads", a.threads)->capture_default_str();
  app.add_option("--max-tokens", a.max_tokens)->capture_default_str();
  app.add_option("--prompt-tokens", a.prompt_tokens)->capture_default_str();
  app.add_option("--anchor-bits", a.anchor_bits, "Splits, as 5,4 4,4")->capture_default_str();
  app.add_option("--target", a.targets, "int8, bf16 or both")->capture_default_str();
  app.add_option("--temperature", a.temperatures)->capture_default_str();
  app.add_option("--chunk-tokens", a.chunks_tokens,
                 "What the prefill computes at once: one for each case, in turn")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--link-mbit", a.links_mbit)->capture_default_str();
  app.add_option("--n", a.choices)->capture_default_str();
  app.add_option("--batch", a.batches)->capture_default_str();
  app.add_flag("--covering", a.covering,
               "A covering set; something must be drafted, accepted and rolled back");
  app.add_option("--sample", a.sample, "So many random cases");
  app.add_option("--seed", a.seed, "Of the covering set or the sample")->capture_default_str();
  app.add_option("--part", a.part, "Of the whole product: part I ...");
  app.add_option("--parts", a.parts, "... of N");
  app.add_option("--seconds", a.seconds, "Begin no case after so long");
  app.add_flag("--verbose", a.verbose, "A line for each case");
}

}  // namespace
}  // namespace lynx

int main(int argc, char** argv) {
  lynx::Arguments arguments;
  CLI::App app("Requests in every way of serving them, against the reference");
  lynx::AddOptions(app, arguments);
  CLI11_PARSE(app, argc, argv);
  spdlog::set_level(spdlog::level::warn);
  const absl::StatusOr<bool> equal = lynx::Run(arguments);
  if (!equal.ok()) {
    std::fprintf(stderr, "%s\n", std::string(equal.status().message()).c_str());
    return 1;
  }
  return *equal ? 0 : 1;
}
