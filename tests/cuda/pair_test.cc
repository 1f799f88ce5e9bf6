// The contract of tests/e2e/equality_test.cc with both engines on the GPU path, on short prompts:
// whatever the target's way of arriving, the text is the reference's, bit for bit.
#include <set>
#include <string>

#include "model/cuda/cuda_backend.h"
#include "tests/e2e/pair_fixture.h"

namespace lynx {
namespace {

const char* const kModels[] = {LYNX_TEST_DATA "/models/tiny-llama-d64.gguf",
                               LYNX_TEST_DATA "/models/tiny-qwen2-d64.gguf"};

constexpr size_t kBytes = size_t{6} << 20;
constexpr int64_t kRowsMax = 256;  // the decode engine's

// The first backend of a model checks its products, the others trust it.
std::unique_ptr<Backend> NewCudaBackend(const LoadedModel& model) {
  static std::set<std::string> checked;
  const bool check = checked.insert(model.config.name).second;
  auto backend = cuda::CudaBackend::Create(
      model.config, model.weights,
      {.kv_bytes = kBytes,
       .wire_bytes = kBytes,
       .rows_max = kRowsMax,
       .linear = {.prefill_rows = 64, .workspace_bytes = size_t{1} << 20, .check = check}});
  INFO(backend.status());
  REQUIRE(backend.ok());
  return *std::move(backend);
}

Case SmallCase() {
  Case c;
  c.kv_budget_bytes = c.staging_bytes = kBytes;
  return c;
}

}  // namespace

TEST_CASE("on the GPU path lengths, splits, targets and links do not change the text") {
  PairTotals totals;
  int variant = 0;
  for (const char* path : kModels) {
    PairFixture fixture(path, NewCudaBackend, kRowsMax);
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
  PairFixture fixture(kModels[0], NewCudaBackend, kRowsMax);
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
