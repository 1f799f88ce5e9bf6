#include "model/cuda/cuda_backend.h"
#include "model/device.h"

namespace lynx {

absl::Status CheckDevice(const std::string& name) {
  if (name == kCpuDevice || name == LYNX_GPU_DEVICE) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "device ", name, ": this build has ", LYNX_GPU_DEVICE, " (preset ", name, " builds for it)"));
}

absl::StatusOr<std::unique_ptr<Backend>> OpenGpu(const DeviceOptions& options,
                                                 const ModelConfig& config, FeedWeights feed) {
  RETURN_IF_ERROR(CheckDevice(options.name));
  if (options.name == kCpuDevice) return absl::InvalidArgumentError("the CPU is no GPU");
  return cuda::CudaBackend::Create(config, feed,
                                   {.device = options.gpu,
                                    .kv_bytes = options.kv_bytes,
                                    .wire_bytes = options.wire_bytes,
                                    .channel_bytes = options.channel_bytes,
                                    .rows_max = options.rows_max,
                                    .warm_up = true,
                                    .linear = {.prefill_rows = options.rows_max}});
}

}  // namespace lynx
