// Allocations and copies.
#include <cstring>
#include <vector>

#include "fake_world.h"

using namespace simt;
using namespace simt::fake;

namespace {

enum class Place {
  kDevice,
  kPinned,
  kPageable,
  kNowhere,  // of the device, but not within one allocation
};

Place PlaceOf(World& w, const void* p, size_t bytes) {
  if (w.memory.Contains(p, bytes)) return Place::kDevice;
  if (w.memory.InRange(p)) return Place::kNowhere;
  return w.pinned.Contains(p, bytes) ? Place::kPinned : Place::kPageable;
}

struct Copy {
  void* dst;
  size_t dst_pitch;
  const void* src;
  size_t src_pitch;
  size_t width;
  size_t height;

  size_t dst_bytes() const { return dst_pitch * (height - 1) + width; }
  size_t src_bytes() const { return src_pitch * (height - 1) + width; }
};

void Run(const Copy& c) {
  for (size_t row = 0; row < c.height; ++row) {
    memmove(static_cast<char*>(c.dst) + row * c.dst_pitch,
            static_cast<const char*>(c.src) + row * c.src_pitch, c.width);
  }
}

bool KindFits(cudaMemcpyKind kind, bool from_device, bool to_device) {
  switch (kind) {
    case cudaMemcpyDefault:
      return true;
    case cudaMemcpyHostToHost:
      return !from_device && !to_device;
    case cudaMemcpyHostToDevice:
      return !from_device && to_device;
    case cudaMemcpyDeviceToHost:
      return from_device && !to_device;
    case cudaMemcpyDeviceToDevice:
      return from_device && to_device;
  }
  return false;
}

// Queues the copy. Pageable memory of the host is read now and written before this returns.
cudaError_t AddCopy(World& w, Lock& lock, Copy c, cudaMemcpyKind kind, cudaStream_t handle) {
  auto s = FindStream(w, handle);
  if (s == nullptr) return cudaErrorInvalidResourceHandle;
  if (c.width > c.dst_pitch || c.width > c.src_pitch) return cudaErrorInvalidPitchValue;
  if (c.width == 0 || c.height == 0) return cudaSuccess;
  const Place from = PlaceOf(w, c.src, c.src_bytes());
  const Place to = PlaceOf(w, c.dst, c.dst_bytes());
  if (from == Place::kNowhere || to == Place::kNowhere) return cudaErrorInvalidValue;
  if (!KindFits(kind, from == Place::kDevice, to == Place::kDevice)) {
    return cudaErrorInvalidMemcpyDirection;
  }
  const bool pageable = from == Place::kPageable || to == Place::kPageable;
  if (pageable && s->capture != nullptr) return Invalidate(*s);
  std::shared_ptr<std::vector<char>> staged;
  if (from == Place::kPageable) {
    const auto* bytes = static_cast<const char*>(c.src);
    staged = std::make_shared<std::vector<char>>(bytes, bytes + c.src_bytes());
    c.src = staged->data();
  }
  auto work = [c, staged] {
    Run(c);
    return Step::kDone;
  };
  Add(w, lock, *s, {work, nullptr, nullptr});
  if (to == Place::kPageable) Drain(w, lock, *s);
  return cudaSuccess;
}

cudaError_t AddSet(World& w, Lock& lock, void* dst, int value, size_t bytes, cudaStream_t handle) {
  auto s = FindStream(w, handle);
  if (s == nullptr) return cudaErrorInvalidResourceHandle;
  if (bytes == 0) return cudaSuccess;
  const Place place = PlaceOf(w, dst, bytes);
  if (place != Place::kDevice && place != Place::kPinned) return cudaErrorInvalidValue;
  auto work = [=] {
    memset(dst, value, bytes);
    return Step::kDone;
  };
  Add(w, lock, *s, {work, nullptr, nullptr});
  return cudaSuccess;
}

thread_local int current_device = 0;

// One more allocation: false if it is the one that is to fail.
bool MayAllocate(World& w) {
  int64_t& left = w.options.allocations_before_failure;
  if (left < 0) return true;
  if (left > 0) {
    --left;
    return true;
  }
  left = -1;
  return false;
}

cudaError_t AllocatePinned(void** out, size_t bytes, const char* name = __builtin_FUNCTION()) {
  return Call(
      [&](World& w, Lock&) {
        if (out == nullptr) return cudaErrorInvalidValue;
        *out = MayAllocate(w) ? w.pinned.Allocate(bytes) : nullptr;
        return *out != nullptr ? cudaSuccess : cudaErrorMemoryAllocation;
      },
      Rules::kNormal, name);
}

}  // namespace

extern "C" {

cudaError_t cudaSetDevice(int device) {
  return Call([&](World& w, Lock&) {
    if (device < 0 || device >= w.options.devices) return cudaErrorInvalidDevice;
    current_device = device;
    return cudaSuccess;
  });
}
cudaError_t cudaGetDevice(int* device) {
  return Call([&](World&, Lock&) {
    *device = current_device;
    return cudaSuccess;
  });
}

cudaError_t cudaMalloc(void** out, size_t bytes) {
  return Call([&](World& w, Lock&) {
    if (out == nullptr) return cudaErrorInvalidValue;
    if (!w.captures.empty()) return InvalidateAll(w);
    *out = nullptr;
    if (bytes == 0) return cudaSuccess;
    const size_t used = w.memory.used_bytes(current_device);
    const bool fits = used <= w.options.total_bytes && bytes <= w.options.total_bytes - used;
    if (fits && MayAllocate(w)) *out = w.memory.Allocate(bytes, current_device);
    return *out != nullptr ? cudaSuccess : cudaErrorMemoryAllocation;
  });
}

// Waits for all work of the device.
cudaError_t cudaFree(void* p) {
  return Call(
      [&](World& w, Lock& lock) {
        if (p == nullptr) return cudaSuccess;
        if (!w.captures.empty()) return InvalidateAll(w);
        DrainAll(w, lock);
        std::string damage;
        if (!w.memory.Free(p, &damage)) return cudaErrorInvalidValue;
        if (!damage.empty()) FailDevice(damage.c_str());
        return cudaSuccess;
      },
      Rules::kCleanup);
}

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  return Call([&](World& w, Lock&) {
    const size_t used = w.memory.used_bytes(current_device);
    *total_bytes = w.options.total_bytes;
    *free_bytes = used < *total_bytes ? *total_bytes - used : 0;
    return cudaSuccess;
  });
}

cudaError_t cudaMallocHost(void** out, size_t bytes) { return AllocatePinned(out, bytes); }
cudaError_t cudaHostAlloc(void** out, size_t bytes, unsigned) { return AllocatePinned(out, bytes); }

cudaError_t cudaFreeHost(void* p) {
  return Call(
      [&](World& w, Lock& lock) {
        if (p == nullptr) return cudaSuccess;
        DrainAll(w, lock);
        return w.pinned.Free(p) ? cudaSuccess : cudaErrorInvalidValue;
      },
      Rules::kCleanup);
}

cudaError_t cudaHostRegister(void* p, size_t bytes, unsigned) {
  return Call([&](World& w, Lock&) {
    if (p == nullptr || bytes == 0) return cudaErrorInvalidValue;
    return w.pinned.Register(p, bytes) ? cudaSuccess : cudaErrorHostMemoryAlreadyRegistered;
  });
}
cudaError_t cudaHostUnregister(void* p) {
  return Call(
      [&](World& w, Lock& lock) {
        DrainAll(w, lock);
        return w.pinned.Unregister(p) ? cudaSuccess : cudaErrorHostMemoryNotRegistered;
      },
      Rules::kCleanup);
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* p) {
  return Call([&](World& w, Lock&) {
    *attributes = {};
    attributes->device = w.memory.DeviceOf(p);
    if (attributes->device >= 0) {
      attributes->type = cudaMemoryTypeDevice;
      attributes->devicePointer = const_cast<void*>(p);
      return cudaSuccess;
    }
    const bool pinned = w.pinned.Contains(p, 1);
    attributes->type = pinned ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered;
    attributes->device = pinned ? 0 : cudaInvalidDeviceId;
    if (pinned) attributes->devicePointer = const_cast<void*>(p);
    attributes->hostPointer = const_cast<void*>(p);
    return cudaSuccess;
  });
}

cudaError_t cudaMemcpyAsync(void* dst, const void* src, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return Call([&](World& w, Lock& lock) {
    return AddCopy(w, lock, {dst, bytes, src, bytes, bytes, 1}, kind, stream);
  });
}

cudaError_t cudaMemcpy2DAsync(void* dst, size_t dst_pitch, const void* src, size_t src_pitch,
                              size_t width, size_t height, cudaMemcpyKind kind,
                              cudaStream_t stream) {
  return Call([&](World& w, Lock& lock) {
    return AddCopy(w, lock, {dst, dst_pitch, src, src_pitch, width, height}, kind, stream);
  });
}

cudaError_t cudaMemcpy(void* dst, const void* src, size_t bytes, cudaMemcpyKind kind) {
  return Call([&](World& w, Lock& lock) {
    if (!w.captures.empty()) return InvalidateAll(w);
    const cudaError_t error =
        AddCopy(w, lock, {dst, bytes, src, bytes, bytes, 1}, kind, cudaStreamLegacy);
    if (error != cudaSuccess) return error;
    Drain(w, lock, *w.legacy);
    return cudaSuccess;
  });
}

cudaError_t cudaMemsetAsync(void* dst, int value, size_t bytes, cudaStream_t stream) {
  return Call([&](World& w, Lock& lock) { return AddSet(w, lock, dst, value, bytes, stream); });
}
cudaError_t cudaMemset(void* dst, int value, size_t bytes) {
  return cudaMemsetAsync(dst, value, bytes, cudaStreamLegacy);
}

}  // extern "C"
