// Backends for pairs of engines on the GPU path.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "model/cuda/cuda_backend.h"
#include "tests/e2e/pair_fixture.h"

namespace lynx {

inline const char* const kPairModels[] = {LYNX_TEST_DATA "/models/tiny-llama-d64.gguf",
                                          LYNX_TEST_DATA "/models/tiny-qwen2-d64.gguf"};

inline constexpr size_t kPairBytes = size_t{6} << 20;
inline constexpr int64_t kPairRowsMax = 256;  // the decode engine's

// `wire_bytes` 0: what is sent and received lies in device memory. Tails are then moved aside a few
// at a time.
inline PairFixture::NewBackend NewCudaBackends(size_t wire_bytes) {
  return [wire_bytes](const LoadedModel& model) -> std::unique_ptr<Backend> {
    // The first backend of a model checks its products, the others trust it.
    static std::set<std::string> checked;
    const bool check = checked.insert(model.config.name).second;
    auto backend = cuda::CudaBackend::Create(
        model.config, model.weights,
        {.kv_bytes = kPairBytes,
         .wire_bytes = wire_bytes,
         .aside_bytes = 0,
         .rows_max = kPairRowsMax,
         .linear = {.prefill_rows = 64, .workspace_bytes = size_t{1} << 20, .check = check}});
    INFO(backend.status());
    REQUIRE(backend.ok());
    return *std::move(backend);
  };
}

inline Case SmallCase() {
  Case c;
  c.kv_budget_bytes = c.staging_bytes = kPairBytes;
  return c;
}

}  // namespace lynx
