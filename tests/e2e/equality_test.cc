// The contract: whatever the target's way of arriving, the text is the reference's, bit for bit.
#include <cstring>

#include "tests/e2e/pair_fixture.h"
#include "tests/model/staged_backend.h"

namespace lynx {
namespace {

const char* const kModels[] = {LYNX_TEST_DATA "/models/tiny-llama.gguf",
                               LYNX_TEST_DATA "/models/tiny-qwen2.gguf"};

}  // namespace

TEST_CASE("lengths, splits, targets and links do not change the text") {
  PairTotals totals;
  int variant = 0;
  for (const char* path : kModels) {
    PairFixture fixture(path);
    for (KvTarget target : {KvTarget::kInt8, KvTarget::kBf16, KvTarget::kInt8Whole,
                            KvTarget::kInt4Whole, KvTarget::kBf16Whole}) {
      for (int64_t length : {1, 63, 64, 65, 200, 500}) {
        ++variant;
        const KvSplit splits[] = {{5, 4}, {4, 4}, {3, 3}, {7, 7}, {6, 5}};
        Case c{.target = target,
               .split = splits[variant % 5],
               .link_bytes_per_s = variant % 2 == 0 ? 20'000'000u : 400'000u,
               .chunk_tokens = variant % 3 == 0   ? 512
                               : variant % 3 == 1 ? 64
                                                  : 37};
        v1::GenerateRequest request = fixture.Request(fixture.Prompt(length, variant), 24);
        VarySampling(variant, &request);
        CAPTURE(path, KvTargetName(target), length, variant);
        CheckAlone(fixture, c, request, &totals);
      }
    }
  }
  // A suite in which nothing is drafted, accepted or rolled back proves nothing.
  CHECK(totals.drafted > 0);
  CHECK(totals.accepted > 0);
  CHECK(totals.rolled_back > 0);
}

TEST_CASE("eight requests at once have the text that each has alone") {
  PairFixture fixture(kModels[0], 2);
  for (KvTarget target : {KvTarget::kInt8, KvTarget::kBf16}) {
    Case c{.target = target, .link_bytes_per_s = 2'000'000};
    std::vector<v1::GenerateRequest> requests;
    for (int i = 0; i < 8; ++i) {
      requests.push_back(fixture.Request(fixture.Prompt(30 + 61 * i, i), 20));
      VarySampling(i, &requests.back());
    }
    CheckTogether(fixture, c, requests);
  }
}

TEST_CASE("memory of its own for what is sent and received does not change the text") {
  PairTotals totals;
  ThreadPool pool(1);
  PairFixture fixture(
      kModels[0],
      [&](const LoadedModel& model) {
        return std::make_unique<StagedBackend>(model.config, model.weights, *SelectKernels(), pool);
      },
      512);
  fixture.Enlarge(1, 1.6e6f);  // some pages travel raw
  int variant = 0;
  for (KvTarget target : {KvTarget::kInt8, KvTarget::kBf16, KvTarget::kInt8Whole,
                          KvTarget::kInt4Whole, KvTarget::kBf16Whole}) {
    for (int64_t length : {1, 64, 300}) {
      const Case c{.target = target, .link_bytes_per_s = 400'000, .chunk_tokens = 100};
      v1::GenerateRequest request = fixture.Request(fixture.Prompt(length, ++variant), 24);
      VarySampling(variant, &request);
      CAPTURE(KvTargetName(target), length);
      CheckAlone(fixture, c, request, &totals);
    }
  }
  CHECK(totals.drafted > 0);
}

TEST_CASE("frames that land as on a device do not change the text") {
  PairTotals totals;
  PairFixture fixture(kModels[0]);
  fixture.Enlarge(1, 1.6e6f);  // some pages travel raw
  int variant = 0;
  for (KvTarget target : {KvTarget::kInt8, KvTarget::kBf16, KvTarget::kInt8Whole,
                          KvTarget::kInt4Whole, KvTarget::kBf16Whole}) {
    Case c{.target = target, .link_bytes_per_s = 400'000, .chunk_tokens = 100};
    c.device_copy = [](std::byte* to, const std::byte* from, size_t bytes) {
      std::memcpy(to, from, bytes);
    };
    c.faults = {.lose = 0.05, .duplicate = 0.1, .reorder = 0.2};
    v1::GenerateRequest request = fixture.Request(fixture.Prompt(300, ++variant), 24);
    VarySampling(variant, &request);
    CAPTURE(KvTargetName(target));
    CheckAlone(fixture, c, request, &totals);
  }
  CHECK(totals.drafted > 0);
}

TEST_CASE("a prompt whose KV the staging memory can never hold is refused at once") {
  ThreadPool pool(1);
  PairFixture fixture(
      kModels[0],
      [&](const LoadedModel& model) {
        return std::make_unique<StagedBackend>(model.config, model.weights, *SelectKernels(), pool);
      },
      512);
  const Case small{.staging_bytes = 16 << 10};
  std::unique_ptr<VirtualPair> pair = fixture.Pair(small);
  const Collected& got = pair->Submit(fixture.Request(fixture.Prompt(300, 1), 8));
  REQUIRE(pair->Run().ok());
  CHECK(absl::IsInvalidArgument(got.status));
  CHECK_THAT(std::string(got.status.message()), Catch::Contains("to receive its KV in"));
}

TEST_CASE("pages that cannot be coded travel raw, between others, and do not change the text") {
  int64_t drafted = 0;
  for (const char* path : kModels) {
    PairFixture fixture(path);
    fixture.Enlarge(1, 1.6e6f);
    for (KvTarget target : {KvTarget::kInt8, KvTarget::kBf16}) {
      for (int64_t chunk : {37, 64, 512}) {
        constexpr int64_t kTokens = 530, kPages = kTokens / kPageTokens;
        const Case c{.target = target, .link_bytes_per_s = 400'000, .chunk_tokens = chunk};
        v1::GenerateRequest request = fixture.Request(fixture.Prompt(kTokens, chunk), 24);
        request.mutable_sampling()->set_temperature(0.8);
        request.set_logprobs(3);
        CAPTURE(path, KvTargetName(target), chunk);
        std::unique_ptr<VirtualPair> pair = fixture.Pair(c);
        const Collected& got = pair->Submit(request);
        REQUIRE(pair->Run().ok());
        RequireEqual(got, fixture.Reference(request, c));
        if (target == KvTarget::kBf16) RequireEqual(got, fixture.Reference(request, c, true));
        drafted += got.finished.stats().drafted();
        // By the bytes, some of the layer's pages were raw, and some were not.
        const KvGeometry g = *MakeKvGeometry(fixture.model().config, c.target, c.split);
        const auto coded = static_cast<int64_t>(AnchorBlockBytes(g.shape, g.split));
        const auto raw = static_cast<int64_t>(Bf16PageBytes(g.shape));
        const auto packed =
            static_cast<int64_t>((kSinkTokens + kTokens % kPageTokens) * PackedTokenBytes(g.shape));
        const int64_t more = static_cast<int64_t>(got.finished.stats().anchor_bytes()) -
                             g.layers * (kPages * coded + packed);
        CAPTURE(more, coded, raw);
        REQUIRE(more % (raw - coded) == 0);
        const int64_t raw_pages = more / (raw - coded);
        CHECK(raw_pages > 0);
        CHECK(raw_pages < kPages);
      }
    }
  }
  CHECK(drafted > 0);
}

TEST_CASE("a text may end at token min_tokens, and no earlier") {
  PairFixture fixture(kModels[0]);
  for (uint32_t link : {400'000u, 20'000'000u}) {  // verified, and decoded plainly
    const Case c{.link_bytes_per_s = link};
    v1::GenerateRequest request = fixture.Request(fixture.Prompt(200, 3), 24);
    request.mutable_sampling()->set_temperature(1.3);
    request.set_ignore_eos(true);
    request.mutable_sampling()->set_frequency_penalty(2);  // few tokens twice
    const std::vector<int32_t> tokens = fixture.Reference(request, c).tokens;
    int ends = 0;
    for (int64_t at = 1; at + 1 < std::ssize(tokens); ++at) {
      if (std::find(tokens.begin(), tokens.begin() + at, tokens[at]) != tokens.begin() + at) {
        continue;  // the ban on ending would change what is before
      }
      ++ends;
      request.clear_stop_token_ids();
      request.add_stop_token_ids(tokens[at]);
      for (int64_t min_tokens : {at, at + 1}) {
        CAPTURE(link, at, min_tokens);
        request.set_min_tokens(min_tokens);
        std::unique_ptr<VirtualPair> pair = fixture.Pair(c);
        const Collected& got = pair->Submit(request);
        REQUIRE(pair->Run().ok());
        RequireEqual(got, fixture.Reference(request, c));
        CHECK((std::ssize(got.ids()) == at + 1) == (min_tokens == at));
      }
    }
    CHECK(ends > 10);
  }
}

TEST_CASE("requests wait for memory and all of them end") {
  PairFixture fixture(kModels[0]);
  Case c{.link_bytes_per_s = 5'000'000};
  const KvGeometry geometry = *MakeKvGeometry(fixture.model().config, c.target, c.split);
  // Room for about two of them on the decode side.
  c.kv_budget_bytes = KvSequence::BytesNeeded(geometry, 3, 220) * 5 / 2;
  std::unique_ptr<VirtualPair> pair = fixture.Pair(c);
  std::vector<v1::GenerateRequest> requests;
  std::vector<const Collected*> results;
  for (int i = 0; i < 10; ++i) {
    requests.push_back(fixture.Request(fixture.Prompt(200, i), 20));
    results.push_back(&pair->Submit(requests.back()));
  }
  REQUIRE(pair->Run().ok());
  for (int i = 0; i < 10; ++i) RequireEqual(*results[i], fixture.Reference(requests[i], c));
  const Collected& never = pair->Submit(fixture.Request(fixture.Prompt(2000, 1), 20));
  CHECK(never.status.code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("bf16: a request is let in where another's planes were") {
  PairFixture fixture(kModels[0]);
  Case c{.target = KvTarget::kBf16, .link_bytes_per_s = 5'000'000};
  const KvGeometry bf16 = *MakeKvGeometry(fixture.model().config, c.target, c.split);
  const KvGeometry whole = *MakeKvGeometry(fixture.model().config, KvTarget::kBf16Whole, c.split);
  const v1::GenerateRequest large = fixture.Request(fixture.Prompt(640, 1), 200);
  const v1::GenerateRequest small = fixture.Request(fixture.Prompt(70, 2), 8);
  const size_t large_bytes = KvSequence::BytesNeeded(bf16, 10, 840);
  const size_t small_bytes = KvSequence::BytesNeeded(bf16, 1, 78);
  const size_t sink_bytes =
      bf16.layers * KvPool::RoundUp(kSinkTokens * PackedTokenBytes(bf16.shape));
  const size_t restored_bytes = KvSequence::BytesNeeded(whole, 10, 840) + sink_bytes;
  REQUIRE(restored_bytes + small_bytes < large_bytes + small_bytes / 2);
  c.decode_kv_budget_bytes = large_bytes + small_bytes / 2;
  std::unique_ptr<VirtualPair> pair = fixture.Pair(c);
  const Collected& first = pair->Submit(large);
  REQUIRE(pair->Run(10).ok());
  const Collected& second = pair->Submit(small);
  size_t least = SIZE_MAX;  // held while the first is decoding and the second is not there
  while (!second.done) {
    REQUIRE(pair->Run(1).ok());
    const decode::EngineStats stats = pair->decode_stats();
    CHECK(stats.kv_used_bytes <= c.decode_kv_budget_bytes);
    if (stats.running == 1) least = std::min(least, stats.kv_used_bytes);
  }
  CHECK(least == restored_bytes);
  CHECK_FALSE(first.done);  // else it was admitted into the first one's own memory
  REQUIRE(pair->Run().ok());
  RequireEqual(first, fixture.Reference(large, c));
  RequireEqual(second, fixture.Reference(small, c));
}

}  // namespace lynx
