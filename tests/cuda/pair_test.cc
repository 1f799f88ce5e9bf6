// The contract of tests/e2e/equality_test.cc with both engines on the GPU path, on short prompts:
// whatever the target's way of arriving, the text is the reference's, bit for bit.
#include "tests/cuda/pair_backend.h"

namespace lynx {

TEST_CASE("on the GPU path lengths, splits, targets and links do not change the text") {
  PairTotals totals;
  int variant = 0;
  for (const char* path : kPairModels) {
    PairFixture fixture(path, NewCudaBackends(kPairBytes), kPairRowsMax);
    for (KvTarget target : {KvTarget::kInt8, KvTarget::kBf16, KvTarget::kInt8Whole,
                            KvTarget::kInt4Whole, KvTarget::kBf16Whole}) {
      for (int64_t length : {1, 64, 150}) {
        ++variant;
        const KvSplit splits[] = {{5, 4}, {4, 4}, {3, 3}, {7, 7}, {6, 5}};
        Case c = SmallCase();
        c.target = target;
        c.split = splits[variant % 5];
        c.link_bytes_per_s = variant % 2 == 0 ? 20'000'000u : 1'000'000u;
        c.chunk_tokens = variant % 3 == 0 ? 256 : variant % 3 == 1 ? 64 : 37;
        v1::GenerateRequest request = fixture.Request(fixture.Prompt(length, variant), 14);
        VarySampling(variant, &request);
        CAPTURE(path, KvTargetName(target), length, variant);
        CheckAlone(fixture, c, request, &totals);
      }
    }
  }
  CHECK(totals.drafted > 0);
  CHECK(totals.accepted > 0);
  CHECK(totals.rolled_back > 0);
}

TEST_CASE("on the GPU path requests side by side have the text that each has alone") {
  PairFixture fixture(kPairModels[0], NewCudaBackends(kPairBytes), kPairRowsMax);
  for (KvTarget target : {KvTarget::kInt8, KvTarget::kBf16}) {
    Case c = SmallCase();
    c.target = target;
    c.link_bytes_per_s = 2'000'000;
    std::vector<v1::GenerateRequest> requests;
    for (int i = 0; i < 4; ++i) {
      requests.push_back(fixture.Request(fixture.Prompt(30 + 41 * i, i), 10));
      VarySampling(i, &requests.back());
    }
    CheckTogether(fixture, c, requests);
  }
}

}  // namespace lynx
