// Faults by seed: never a wrong token, every request ends, no memory is lost.
#include "tests/e2e/pair_fixture.h"

namespace lynx {
namespace {

Case FaultyCase(uint64_t seed) {
  std::mt19937_64 rng(seed);
  auto chance = [&](double p) { return rng() % 2 == 0 ? 0.0 : p; };
  Case c{.target = rng() % 2 == 0 ? KvTarget::kInt8 : KvTarget::kBf16,
         .link_bytes_per_s = rng() % 2 == 0 ? 500'000u : 8'000'000u};
  c.faults = {.lose = chance(0.1),
              .duplicate = chance(0.1),
              .corrupt = chance(0.1),
              .reorder = chance(0.2),
              .cut = chance(0.01)};
  c.fault_seed = seed;
  return c;
}

}  // namespace

TEST_CASE("faults on the data plane, restarts and cancellations") {
  PairFixture fixture(LYNX_TEST_DATA "/models/tiny-llama.gguf");
  // The texts are few, so that their references are computed once.
  std::vector<v1::GenerateRequest> requests;
  for (int i = 0; i < 4; ++i) {
    requests.push_back(fixture.Request(fixture.Prompt(70 + 50 * i, i), 12));
    requests.back().mutable_sampling()->set_temperature(i % 2 == 0 ? 0.0 : 0.8);
    requests.back().mutable_sampling()->set_seed(i);
    requests.back().set_emission(i < 2 ? v1::EMISSION_VERIFIED : v1::EMISSION_SPECULATIVE);
    // Three tries, as a gateway that knows three prefill servers would give.
    for (const char* name : {"a", "b", "c"}) requests.back().add_prefill_addresses(name);
  }
  std::map<std::pair<int, KvTarget>, ReferenceResult> references;
  for (int i = 0; i < 4; ++i) {
    for (KvTarget target : {KvTarget::kInt8, KvTarget::kBf16}) {
      references[{i, target}] = fixture.Reference(requests[i], Case{.target = target});
    }
  }
  int ended_well = 0, failed = 0;
  for (uint64_t seed = 1; seed <= 1000; ++seed) {
    const Case c = FaultyCase(seed);
    std::mt19937_64 rng(seed * 77);
    std::unique_ptr<VirtualPair> pair = fixture.Pair(c);
    std::vector<std::pair<int, const Collected*>> open;
    for (int n = 1 + static_cast<int>(rng() % 3); n > 0; --n) {
      const int which = static_cast<int>(rng() % 4);
      open.emplace_back(which, &pair->Submit(requests[which]));
    }
    CAPTURE(seed);
    // Somewhere in the middle, in whatever state that is.
    REQUIRE(pair->Run(static_cast<int64_t>(rng() % 60)).ok());
    const Collected* cancelled = nullptr;
    switch (rng() % 4) {
      case 0:
        pair->RestartPrefill();
        break;
      case 1:
        pair->CutLink();
        break;
      case 2:
        cancelled = open[0].second;
        pair->Cancel(*cancelled);
        break;
      default:
        break;
    }
    absl::Status status = pair->Run();
    INFO(status);
    REQUIRE(status.ok());
    for (const auto& [which, result] : open) {
      REQUIRE(result->done);
      if (result->status.ok()) {
        RequireEqual(*result, references[{which, c.target}]);
        ++ended_well;
      } else {
        INFO(result->status);
        const bool explained =
            result->status.code() == absl::StatusCode::kUnavailable ||
            (result == cancelled && result->status.code() == absl::StatusCode::kCancelled);
        REQUIRE(explained);
        // What was committed stays right.
        const std::vector<int32_t>& want = references[{which, c.target}].tokens;
        for (int64_t i = 0; i < result->committed; ++i) REQUIRE(result->tokens[i].id() == want[i]);
        ++failed;
      }
    }
    REQUIRE(pair->decode_stats().kv_used_bytes == 0);
    REQUIRE(pair->prefill_stats().kv_used_bytes == 0);
  }
  CHECK(ended_well > 500);
  CHECK(failed > 50);
}

}  // namespace lynx
