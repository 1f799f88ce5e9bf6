// Of a build without CUDA.
#include "model/device.h"

namespace lynx {

absl::Status CheckDevice(const std::string& name) {
  if (name == kCpuDevice) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "device ", name, ": this build computes on the CPU only (preset ", name, " builds for it)"));
}

absl::StatusOr<std::unique_ptr<Backend>> OpenGpu(const DeviceOptions& options, const ModelConfig&,
                                                 FeedWeights) {
  RETURN_IF_ERROR(CheckDevice(options.name));
  return absl::InvalidArgumentError("the CPU is no GPU");
}

}  // namespace lynx
