// CUDA's errors as a Status.
#pragma once

#include <cuda_runtime_api.h>

#include <string_view>

#include "runtime/status.h"

namespace lynx::cuda {

// OK, or RESOURCE_EXHAUSTED (no device memory), FAILED_PRECONDITION (no device, no driver, one that
// is too old, no code for this device) or INTERNAL, with `what` before CUDA's own words.
absl::Status ToStatus(cudaError_t error, std::string_view what);

// For errors in the middle of serving: a device that fails cannot be used again by this process.
// Says what is wrong and ends it; a supervisor starts it anew.
void Must(cudaError_t error, std::string_view what);
void Must(const absl::Status& status);

}  // namespace lynx::cuda
