// Requests launch no kernel that was not launched before them.
#include <set>
#include <string>

#include "fake_cuda.h"
#include "model/cuda/cuda_backend.h"
#include "tests/e2e/pair_fixture.h"

namespace lynx {
namespace {

constexpr size_t kBytes = size_t{6} << 20;
constexpr int64_t kRowsMax = 80;

std::unique_ptr<Backend> NewCudaBackend(const LoadedModel& model, bool as_served) {
  auto backend = cuda::CudaBackend::Create(
      model.config, model.weights,
      {.kv_bytes = kBytes,
       .wire_bytes = kBytes,
       .rows_max = kRowsMax,
       .warm_up = as_served,
       .linear = {
           .prefill_rows = kRowsMax, .workspace_bytes = size_t{1} << 20, .check = as_served}});
  INFO(backend.status());
  REQUIRE(backend.ok());
  return *std::move(backend);
}

}  // namespace

TEST_CASE("what requests launch was launched at the start") {
  const char* const path = LYNX_TEST_DATA "/models/tiny-qwen2-d64.gguf";
  const auto cold = [](const LoadedModel& model) { return NewCudaBackend(model, false); };
  PairFixture fixture(path, cold, kRowsMax);
  simt::TakeLaunchedKernels();
  {
    const auto backend = NewCudaBackend(fixture.model(), true);
    const auto transformer = backend->NewTransformer(kRowsMax);
    backend->NewRowSampler(*transformer);
  }
  const std::set<std::pair<std::string, const void*>> warm = simt::TakeLaunchedKernels();
  CHECK(warm.size() >= 12);

  PairTotals totals;
  for (KvTarget target : {KvTarget::kInt8, KvTarget::kBf16, KvTarget::kBf16Whole}) {
    Case c;
    c.kv_budget_bytes = c.staging_bytes = kBytes;
    c.target = target;
    c.link_bytes_per_s = 2'000'000;
    v1::GenerateRequest request = fixture.Request(fixture.Prompt(150, 1), 10);
    CheckAlone(fixture, c, request, &totals);
    request.mutable_sampling()->set_temperature(0.8);
    request.mutable_sampling()->set_top_k(20);
    request.mutable_sampling()->set_top_p(0.9);
    request.mutable_sampling()->set_repetition_penalty(1.1);
    request.set_logprobs(3);
    request.set_prompt_logprobs(3);
    CheckAlone(fixture, c, request, &totals);
  }
  const std::set<std::pair<std::string, const void*>> served = simt::TakeLaunchedKernels();
  CHECK(served.size() >= 12);
  for (const auto& kernel : served) {
    INFO(kernel.first);
    CHECK(warm.contains(kernel));
  }
}

}  // namespace lynx
