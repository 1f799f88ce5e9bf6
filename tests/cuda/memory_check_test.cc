// What a server needs of the GPU's memory is known before it takes any.
#include "fake_cuda.h"
#include "tests/cuda/step_bed.h"

namespace lynx {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

absl::Status Open(const LoadedModel& model, size_t kv_bytes, size_t channel_bytes) {
  const cuda::CudaBackendOptions options{
      .kv_bytes = kv_bytes,
      .wire_bytes = 0,
      .channel_bytes = channel_bytes,
      .rows_max = 64,
      .linear = {.prefill_rows = 64, .workspace_bytes = kMiB, .check = false}};
  return cuda::CudaBackend::Create(model.config, model.weights, options).status();
}

}  // namespace

TEST_CASE("KV pages and what the data plane will take must fit in the GPU together") {
  const LoadedModel model = testing::LoadTinyModel("tiny-llama-d64.gguf");
  const simt::DeviceOptions usual = simt::GetDeviceOptions();
  simt::DeviceOptions small = usual;
  small.total_bytes = simt::AllocatedDeviceBytes() + 300 * kMiB;
  simt::SetDeviceOptions(small);
  const size_t allocated = simt::AllocatedDeviceBytes();
  CHECK(Open(model, 100 * kMiB, 0).ok());
  CHECK(Open(model, 100 * kMiB, 100 * kMiB).ok());
  for (const auto& [kv, channel] : {std::pair(100 * kMiB, 200 * kMiB), {200 * kMiB, 100 * kMiB}}) {
    const absl::Status refused = Open(model, kv, channel);
    CHECK(absl::IsResourceExhausted(refused));
    CHECK_THAT(
        std::string(refused.message()),
        Catch::Contains(absl::StrCat(kv / kMiB, " for KV pages (kv.memory_mib)")) &&
            Catch::Contains(absl::StrCat(channel / kMiB, " for NCCL (transfer.nccl.max_pairs)")));
  }
  CHECK(simt::AllocatedDeviceBytes() == allocated);
  simt::SetDeviceOptions(usual);
}

}  // namespace lynx
