// The devices besides the CPU that this build can compute on. The build decides: a GPU, the GPU
// path emulated, or none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "model/backend.h"
#include "model/model_config.h"
#include "model/weights_out.h"
#include "runtime/status.h"

namespace lynx {

inline constexpr char kCpuDevice[] = "cpu";

struct DeviceOptions {
  std::string name = kCpuDevice;      // or "cuda", "emulated"
  int gpu = 0;                        // as CUDA numbers them
  size_t kv_bytes = size_t{1} << 30;  // for KV pages, on the device
  // Pinned host memory for what is sent and received; 0: a data plane reaches the pages themselves
  // (Backend::wire_memory).
  size_t wire_bytes = size_t{1} << 30;
  // Device memory that the data plane takes later: opening leaves so much free, or fails.
  size_t channel_bytes = 0;
  int64_t rows_max = 512;  // of the passes that will be asked for
};

// OK: the CPU, or a device that this build has. FAILED_PRECONDITION names the build that has it.
absl::Status CheckDevice(const std::string& name);

// Opens a device that is not the CPU, and copies config and weights, which `feed` puts, to it:
// seconds.
// FAILED_PRECONDITION: CheckDevice's, no driver, no such GPU; RESOURCE_EXHAUSTED: too little
// memory; INVALID_ARGUMENT: a model that it does not run.
absl::StatusOr<std::unique_ptr<Backend>> OpenGpu(const DeviceOptions& options,
                                                 const ModelConfig& config, FeedWeights feed);

}  // namespace lynx
