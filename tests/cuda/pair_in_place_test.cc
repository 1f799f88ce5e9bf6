// Whole requests whose KV goes from device memory to device memory, with nothing between: no byte
// of a page is the host's to touch, what is sent is read only when the device has written it, and
// what lands is read where it lies.
#include <cuda_runtime_api.h>

#include "tests/cuda/pair_backend.h"

namespace lynx {
namespace {

// A stream that waits for none of the engines' own.
void CopyBesideEngines(std::byte* to, const std::byte* from, size_t bytes) {
  REQUIRE(cudaMemcpy(to, from, bytes, cudaMemcpyDefault) == cudaSuccess);
  REQUIRE(cudaStreamSynchronize(cudaStreamLegacy) == cudaSuccess);
}

Case InPlace(KvTarget target) {
  Case c = SmallCase();
  c.target = target;
  c.device_copy = CopyBesideEngines;
  return c;
}

PairFixture NewFixture(const char* path) {
  return PairFixture(path, NewCudaBackends(/*wire_bytes=*/0), kPairRowsMax);
}

constexpr KvTarget kTargets[] = {KvTarget::kInt8, KvTarget::kBf16, KvTarget::kInt8Whole,
                                 KvTarget::kInt4Whole, KvTarget::kBf16Whole};

}  // namespace

TEST_CASE("between device memories lengths, splits, targets and links do not change the text") {
  PairTotals totals;
  int variant = 0;
  for (const char* path : kPairModels) {
    PairFixture fixture = NewFixture(path);
    for (KvTarget target : kTargets) {
      for (int64_t length : {1, 64, 150}) {
        // Short prompts: with one model or the other.
        if (++variant % 2 == 0 && length != 150) continue;
        const KvSplit splits[] = {{5, 4}, {4, 4}, {3, 3}, {7, 7}, {6, 5}};
        Case c = InPlace(target);
        c.split = splits[variant % 5];
        c.link_bytes_per_s = variant % 2 == 0 ? 20'000'000u : 1'000'000u;
        c.chunk_tokens = variant % 3 == 0 ? 256 : variant % 3 == 1 ? 64 : 37;
        v1::GenerateRequest request = fixture.Request(fixture.Prompt(length, variant), 8);
        VarySampling(variant, &request);
        CAPTURE(path, KvTargetName(target), length, variant);
        CheckAlone(fixture, c, request, &totals);
      }
    }
  }
  CHECK(totals.drafted > 0);
  CHECK(totals.accepted > 0);
}

TEST_CASE("between device memories pages that cannot be coded go as they are") {
  PairFixture fixture = NewFixture(kPairModels[0]);
  fixture.Enlarge(1, 1.6e6f);
  for (KvTarget target : {KvTarget::kInt8, KvTarget::kBf16}) {
    constexpr int64_t kTokens = 200, kPages = kTokens / kPageTokens;
    Case c = InPlace(target);
    c.chunk_tokens = 100;
    const v1::GenerateRequest request = fixture.Request(fixture.Prompt(kTokens, 5), 6);
    CAPTURE(KvTargetName(target));
    std::unique_ptr<VirtualPair> pair = fixture.Pair(c);
    const Collected& got = pair->Submit(request);
    REQUIRE(pair->Run().ok());
    RequireEqual(got, fixture.Reference(request, c));
    if (target == KvTarget::kBf16) RequireEqual(got, fixture.Reference(request, c, true));
    const KvGeometry g = *MakeKvGeometry(fixture.model().config, c.target, c.split);
    const auto coded = static_cast<int64_t>(g.layers * kPages * AnchorBlockBytes(g.shape, g.split));
    const auto packed = static_cast<int64_t>(g.layers * (kSinkTokens + kTokens % kPageTokens) *
                                             PackedTokenBytes(g.shape));
    CHECK(got.finished.stats().anchor_bytes() > coded + packed);
    CHECK(pair->decode_stats().kv_used_bytes == 0);
    CHECK(pair->prefill_stats().kv_used_bytes == 0);
  }
}

TEST_CASE("between device memories requests side by side have the text that each has alone") {
  PairFixture fixture = NewFixture(kPairModels[1]);
  for (KvTarget target : {KvTarget::kBf16, KvTarget::kBf16Whole}) {
    Case c = InPlace(target);
    c.link_bytes_per_s = 2'000'000;
    std::vector<v1::GenerateRequest> requests;
    for (int i = 0; i < 3; ++i) {
      requests.push_back(fixture.Request(fixture.Prompt(40 + 61 * i, i), 6));
      VarySampling(i, &requests.back());
    }
    CheckTogether(fixture, c, requests);
  }
}

TEST_CASE("between device memories faults and cancellations change no text and lose no memory") {
  PairFixture fixture = NewFixture(kPairModels[0]);
  v1::GenerateRequest request = fixture.Request(fixture.Prompt(150, 9), 4);
  for (const char* name : {"a", "b", "c"}) request.add_prefill_addresses(name);
  int ended_well = 0;
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    Case c = InPlace(kTargets[seed % 5]);
    c.faults = {.lose = 0.1, .duplicate = 0.1, .reorder = 0.2, .cut = seed % 3 == 0 ? 0.02 : 0};
    c.fault_seed = seed;
    CAPTURE(seed, KvTargetName(c.target));
    std::unique_ptr<VirtualPair> pair = fixture.Pair(c);
    const Collected& got = pair->Submit(request);
    const Collected& cancelled = pair->Submit(request);
    REQUIRE(pair->Run(static_cast<int64_t>(seed * 7 % 40)).ok());
    pair->Cancel(cancelled);
    REQUIRE(pair->Run().ok());
    REQUIRE(got.done);
    REQUIRE(cancelled.done);
    if (got.status.ok()) {
      RequireEqual(got, fixture.Reference(request, c));
      ++ended_well;
    } else {
      INFO(got.status);
      CHECK(absl::IsUnavailable(got.status));
    }
    CHECK(pair->decode_stats().kv_used_bytes == 0);
    CHECK(pair->prefill_stats().kv_used_bytes == 0);
  }
  CHECK(ended_well >= 4);
}

}  // namespace lynx
