// What the device says of itself: as an H100, but for its size.
#include <cstdio>
#include <cstring>

#include "fake_world.h"

using namespace simt;
using namespace simt::fake;

namespace {

constexpr int kMultiprocessors = 4;  // so that code which fills the device makes small grids
constexpr int kThreadsPerMultiprocessor = 2048;
constexpr int kBlocksPerMultiprocessor = 32;
constexpr int kSmemPerMultiprocessor = 228 << 10;
constexpr int kSmemPerBlock = 48 << 10;
constexpr int kSmemPerBlockOptIn = 227 << 10;
constexpr int kReservedSmemPerBlock = 1 << 10;
constexpr int kRegistersPerMultiprocessor = 65536;
constexpr int kL2Bytes = 50 << 20;

bool KnownDevice(const World& w, int device) { return device >= 0 && device < w.options.devices; }

// False: nobody asks for this one so far.
bool AttributeOf(cudaDeviceAttr attribute, int* value) {
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      return *value = kMultiprocessors, true;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      return *value = kSmemPerBlock, true;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      return *value = kSmemPerBlockOptIn, true;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      return *value = kSmemPerMultiprocessor, true;
    case cudaDevAttrReservedSharedMemoryPerBlock:
      return *value = kReservedSmemPerBlock, true;
    case cudaDevAttrMaxRegistersPerMultiprocessor:
    case cudaDevAttrMaxRegistersPerBlock:
      return *value = kRegistersPerMultiprocessor, true;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      return *value = kThreadsPerMultiprocessor, true;
    case cudaDevAttrMaxBlocksPerMultiprocessor:
      return *value = kBlocksPerMultiprocessor, true;
    case cudaDevAttrL2CacheSize:
      return *value = kL2Bytes, true;
    case cudaDevAttrWarpSize:
      return *value = 32, true;
    case cudaDevAttrMaxThreadsPerBlock:
      return *value = 1024, true;
    case cudaDevAttrMaxGridDimX:
      return *value = 0x7fffffff, true;
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ:
      return *value = 65535, true;
    case cudaDevAttrComputeCapabilityMajor:
      return *value = 9, true;
    case cudaDevAttrComputeCapabilityMinor:
      return *value = 0, true;
    case cudaDevAttrUnifiedAddressing:
    case cudaDevAttrConcurrentKernels:
      return *value = 1, true;
    default:
      return false;
  }
}

int BlocksThatFit(int threads, size_t smem_bytes) {
  if (threads < 1 || threads > 1024 || smem_bytes > kSmemPerBlockOptIn) return 0;
  const int warps = (threads + 31) / 32;
  const int by_threads = kThreadsPerMultiprocessor / 32 / warps;
  const int by_smem =
      kSmemPerMultiprocessor / (static_cast<int>(smem_bytes) + kReservedSmemPerBlock);
  return std::min({by_threads, by_smem, kBlocksPerMultiprocessor});
}

}  // namespace

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  return Call([&](World& w, Lock&) {
    *count = w.options.devices;
    return cudaSuccess;
  });
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = GetDeviceOptions().driver_version;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaSetDeviceFlags(unsigned) {
  return Call([](World&, Lock&) { return cudaSuccess; });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  return Call([&](World& w, Lock&) {
    if (!KnownDevice(w, device)) return cudaErrorInvalidDevice;
    return AttributeOf(attribute, value) ? cudaSuccess : cudaErrorInvalidValue;
  });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
  return Call([&](World& w, Lock&) {
    if (!KnownDevice(w, device)) return cudaErrorInvalidDevice;
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "emulated");
    p->totalGlobalMem = w.options.total_bytes;
    p->major = 9;
    p->multiProcessorCount = kMultiprocessors;
    p->maxThreadsPerMultiProcessor = kThreadsPerMultiprocessor;
    p->maxThreadsPerBlock = 1024;
    p->warpSize = 32;
    p->sharedMemPerBlock = kSmemPerBlock;
    p->sharedMemPerBlockOptin = kSmemPerBlockOptIn;
    p->sharedMemPerMultiprocessor = kSmemPerMultiprocessor;
    p->regsPerMultiprocessor = kRegistersPerMultiprocessor;
    p->l2CacheSize = kL2Bytes;
    p->unifiedAddressing = 1;
    p->pciDeviceID = device;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetPCIBusId(char* text, int bytes, int device) {
  return Call([&](World& w, Lock&) {
    if (!KnownDevice(w, device)) return cudaErrorInvalidDevice;
    snprintf(text, static_cast<size_t>(bytes), "0000:00:%02x.0", device);
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  if (least != nullptr) *least = 0;
  if (greatest != nullptr) *greatest = -5;
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  return Call([&](World&, Lock&) {
    if (function == nullptr) return cudaErrorInvalidDeviceFunction;
    const bool too_much =
        attribute == cudaFuncAttributeMaxDynamicSharedMemorySize && value > kSmemPerBlockOptIn;
    return too_much ? cudaErrorInvalidValue : cudaSuccess;
  });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* function,
                                                          int threads, size_t smem_bytes) {
  return Call([&](World&, Lock&) {
    if (function == nullptr) return cudaErrorInvalidDeviceFunction;
    *blocks = BlocksThatFit(threads, smem_bytes);  // as if registers were no limit
    return cudaSuccess;
  });
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks,
                                                                   const void* function,
                                                                   int threads, size_t smem_bytes,
                                                                   unsigned) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessor(blocks, function, threads, smem_bytes);
}

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
#define SIMT_ERROR(name) \
  case name:             \
    return #name
    SIMT_ERROR(cudaSuccess);
    SIMT_ERROR(cudaErrorInvalidValue);
    SIMT_ERROR(cudaErrorMemoryAllocation);
    SIMT_ERROR(cudaErrorInvalidConfiguration);
    SIMT_ERROR(cudaErrorInvalidPitchValue);
    SIMT_ERROR(cudaErrorInvalidMemcpyDirection);
    SIMT_ERROR(cudaErrorInsufficientDriver);
    SIMT_ERROR(cudaErrorNoDevice);
    SIMT_ERROR(cudaErrorInvalidDevice);
    SIMT_ERROR(cudaErrorInvalidDeviceFunction);
    SIMT_ERROR(cudaErrorInvalidResourceHandle);
    SIMT_ERROR(cudaErrorIllegalState);
    SIMT_ERROR(cudaErrorNotReady);
    SIMT_ERROR(cudaErrorNotPermitted);
    SIMT_ERROR(cudaErrorNotSupported);
    SIMT_ERROR(cudaErrorLaunchFailure);
    SIMT_ERROR(cudaErrorHostMemoryAlreadyRegistered);
    SIMT_ERROR(cudaErrorHostMemoryNotRegistered);
    SIMT_ERROR(cudaErrorStreamCaptureUnsupported);
    SIMT_ERROR(cudaErrorStreamCaptureInvalidated);
    SIMT_ERROR(cudaErrorStreamCaptureUnmatched);
    SIMT_ERROR(cudaErrorStreamCaptureUnjoined);
    SIMT_ERROR(cudaErrorStreamCaptureIsolation);
    SIMT_ERROR(cudaErrorCapturedEvent);
#undef SIMT_ERROR
    default:
      return "an error of CUDA that the emulation does not make";
  }
}
// The real texts are nobody's to rely on; a failed kernel's says what happened.
const char* cudaGetErrorString(cudaError_t error) { return cudaGetErrorName(error); }

}  // extern "C"
