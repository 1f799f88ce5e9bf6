// What all entry points have in common: the world, errors, options.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "api.h"
#include "error.h"
#include "fake_world.h"

namespace simt {
namespace fake {
namespace {

thread_local cudaError_t last_error = cudaSuccess;
thread_local bool in_host_function = false;

[[noreturn]] void BadOption(const std::string& word) {
  fprintf(stderr, "SIMT_OPTIONS: \"%s\" is no option\n", word.c_str());
  exit(2);
}

void ApplyOption(const std::string& word, World& w) {
  DeviceOptions& o = w.options;
  const size_t equals = word.find('=');
  const std::string name = word.substr(0, equals);
  const long long value =
      equals == std::string::npos ? 0 : strtoll(word.c_str() + equals + 1, nullptr, 10);
  if (name == "immediate") {
    o.immediate = true;
  } else if (name == "unguarded") {
    o.guard = false;
  } else if (name == "no_keys") {
    w.memory.DropKeys();
  } else if (name == "no_device") {
    o.devices = 0;
  } else if (name == "old_driver") {
    o.driver_version = CUDART_VERSION - 1000;
  } else if (name == "eager_copies") {
    simt::options().cp_defer = false;
  } else if (name == "devices") {
    o.devices = static_cast<int>(value);
  } else if (name == "total_mb") {
    o.total_bytes = static_cast<size_t>(value) << 20;
  } else if (name == "seed") {
    o.seed = static_cast<uint64_t>(value);
    simt::options().seed = o.seed;
  } else if (name == "workers") {
    simt::options().workers = static_cast<int>(value);
  } else if (name == "fail_allocation") {
    o.allocations_before_failure = value;
  } else {
    BadOption(word);
  }
}

void ApplyEnvironment(World& w) {
  const char* text = getenv("SIMT_OPTIONS");
  std::string_view rest = text != nullptr ? text : "";
  while (!rest.empty()) {
    const size_t comma = rest.find(',');
    ApplyOption(std::string(rest.substr(0, comma)), w);
    rest = comma == std::string_view::npos ? "" : rest.substr(comma + 1);
  }
}

World* NewWorld() {
  World* w = new World;  // lives as long as the process
  ApplyEnvironment(*w);
  w->random = w->options.seed;
  w->legacy->blocking = true;
  w->memory.SetGuard(w->options.guard);
  return w;
}

}  // namespace

World& TheWorld() {
  static World* world = NewWorld();
  return *world;
}

cudaError_t StandingError(const World& w) {
  if (in_host_function) {
    fprintf(stderr, "simt: a host function calls CUDA\n");
    return cudaErrorNotPermitted;
  }
  if (w.options.driver_version < CUDART_VERSION) return cudaErrorInsufficientDriver;
  if (w.options.devices == 0) return cudaErrorNoDevice;
  return HasError() ? cudaErrorLaunchFailure : cudaSuccess;
}

HostFunctionScope::HostFunctionScope() { in_host_function = true; }
HostFunctionScope::~HostFunctionScope() { in_host_function = false; }

}  // namespace fake

using fake::Lock;
using fake::TheWorld;
using fake::World;

cudaError_t Report(cudaError_t error) {
  if (error != cudaSuccess) fake::last_error = error;
  return error;
}

void FailDevice(const char* text) { SetError(text); }

bool IsDeviceMemory(const void* p, size_t bytes) { return TheWorld().memory.Contains(p, bytes); }

DeviceOptions GetDeviceOptions() {
  World& w = TheWorld();
  const Lock lock(w.mutex);
  return w.options;
}

void SetDeviceOptions(const DeviceOptions& options) {
  World& w = TheWorld();
  const Lock lock(w.mutex);
  w.options = options;
  w.random = options.seed;
  w.memory.SetGuard(options.guard);
}

void ResetDevice() {
  World& w = TheWorld();
  const Lock lock(w.mutex);
  auto drop = [](CUstream_st& s) {
    for (fake::Operation& operation : s.operations) {
      if (operation.records != nullptr) operation.records->done = true;
    }
    if (!s.running) s.operations.clear();
    s.capture = nullptr;
    s.capture_tail.clear();
  };
  drop(*w.legacy);
  for (auto& [handle, stream] : w.streams) drop(*stream);
  for (auto& stream : w.retired) drop(*stream);
  w.retired.clear();
  w.captures.clear();
  ResetError();
  fake::last_error = cudaSuccess;
}

size_t AllocatedDeviceBytes() {
  World& w = TheWorld();
  size_t bytes = 0;
  for (int device = 0; device < GetDeviceOptions().devices; ++device) {
    bytes += w.memory.used_bytes(device);
  }
  return bytes;
}

std::map<std::string, uint64_t> CallCounts() {
  World& w = TheWorld();
  const Lock lock(w.mutex);
  return w.calls;
}

std::set<std::pair<std::string, const void*>> TakeLaunchedKernels() {
  World& w = TheWorld();
  const Lock lock(w.mutex);
  return std::exchange(w.launched, {});
}

}  // namespace simt

extern "C" {

cudaError_t cudaGetLastError() {
  const cudaError_t error = cudaPeekAtLastError();
  simt::fake::last_error = cudaSuccess;
  return error;
}

cudaError_t cudaPeekAtLastError() {
  return simt::HasError() ? cudaErrorLaunchFailure : simt::fake::last_error;
}

}  // extern "C"
