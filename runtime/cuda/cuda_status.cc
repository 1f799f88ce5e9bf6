#include "runtime/cuda/cuda_status.h"

#include <cstdlib>
#include <string>

#include "runtime/log.h"

namespace lynx::cuda {
namespace {

absl::StatusCode CodeOf(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation:
      return absl::StatusCode::kResourceExhausted;
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorDevicesUnavailable:
    case cudaErrorSystemDriverMismatch:
      return absl::StatusCode::kFailedPrecondition;
    default:
      return absl::StatusCode::kInternal;
  }
}

}  // namespace

absl::Status ToStatus(cudaError_t error, std::string_view what) {
  if (error == cudaSuccess) return absl::OkStatus();
  return absl::Status(CodeOf(error), absl::StrCat(ToAbsl(what), ": ", cudaGetErrorString(error)));
}

void Must(cudaError_t error, std::string_view what) {
  if (error != cudaSuccess) [[unlikely]] {
    Must(ToStatus(error, what));
  }
}

void Must(const absl::Status& status) {
  if (status.ok()) [[likely]] {
    return;
  }
  spdlog::critical("event=device_failed error={}", LogValue(std::string(status.message())));
  spdlog::shutdown();  // writes what is queued
  std::_Exit(EXIT_FAILURE);
}

}  // namespace lynx::cuda
