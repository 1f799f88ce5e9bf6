// Streams, events, host functions, launches.
#include "api.h"
#include "fake_world.h"

namespace simt {
namespace fake {
namespace {

// The legacy stream and blocking streams wait for each other's earlier work.
void OrderWithLegacy(World& w, CUstream_st& s) {
  auto wait_for = [&s](const std::shared_ptr<CUstream_st>& other) {
    if (other->operations.empty() || other.get() == &s) return;
    auto end = std::make_shared<Record>();
    end->stream = other;
    other->operations.push_back({nullptr, nullptr, end});
    s.operations.push_back({nullptr, end, nullptr});
  };
  if (!s.blocking) return;
  if (&s != w.legacy.get()) return wait_for(w.legacy);
  for (auto& [handle, stream] : w.streams) {
    if (stream->blocking) wait_for(stream);
  }
}

cudaError_t AddWork(cudaStream_t handle, std::function<Step()> work,
                    const char* name = __builtin_FUNCTION()) {
  return Call(
      [&](World& w, Lock& lock) {
        auto s = FindStream(w, handle);
        if (s == nullptr) return cudaErrorInvalidResourceHandle;
        Add(w, lock, *s, {std::move(work), nullptr, nullptr});
        return cudaSuccess;
      },
      Rules::kNormal, name);
}

cudaError_t CreateStream(cudaStream_t* out, unsigned flags, int priority,
                         const char* name = __builtin_FUNCTION()) {
  return Call(
      [&](World& w, Lock&) {
        if (out == nullptr || (flags & ~unsigned{cudaStreamNonBlocking}) != 0) {
          return cudaErrorInvalidValue;
        }
        auto s = std::make_shared<CUstream_st>();
        s->blocking = flags == cudaStreamDefault;
        s->priority = priority;
        *out = s.get();
        w.streams[s.get()] = std::move(s);
        return cudaSuccess;
      },
      Rules::kNormal, name);
}

bool Pending(const CUevent_st& e) { return e.last != nullptr && !e.last->done; }

}  // namespace

std::shared_ptr<CUstream_st> FindStream(World& w, cudaStream_t handle) {
  if (handle == nullptr || handle == cudaStreamLegacy) return w.legacy;
  auto found = w.streams.find(handle);
  return found == w.streams.end() ? nullptr : found->second;
}

void Add(World& w, Lock& lock, CUstream_st& s, Operation operation) {
  if (s.capture != nullptr) return AddNode(s, std::move(operation.work));
  OrderWithLegacy(w, s);
  s.operations.push_back(std::move(operation));
  if (w.options.immediate) RunWhatCan(w, lock, s);
}

}  // namespace fake

using fake::Call;
using fake::Lock;
using fake::Rules;
using fake::World;

cudaError_t Enqueue(cudaStream_t stream, std::function<void()> work) {
  return fake::AddWork(stream, [work = std::move(work)] {
    work();
    return Step::kDone;
  });
}

cudaError_t EnqueuePolled(cudaStream_t stream, std::function<Step()> work) {
  return fake::AddWork(stream, std::move(work));
}

cudaError_t QueueLaunch(const char* name, const void* kernel, dim3 grid, dim3 block,
                        size_t smem_bytes, cudaStream_t stream, std::function<void()> thread_body) {
  if (!ValidLaunch(grid, block, smem_bytes)) return Report(cudaErrorInvalidConfiguration);
  {
    World& w = fake::TheWorld();
    const Lock lock(w.mutex);
    w.launched.emplace(name, kernel);
  }
  return fake::AddWork(stream, [=, body = std::move(thread_body)]() mutable {
    auto run = [](void* b) { (*static_cast<std::function<void()>*>(b))(); };
    RunGrid(grid, block, smem_bytes, run, &body, name);
    return Step::kDone;
  });
}

}  // namespace simt

using namespace simt;
using namespace simt::fake;

extern "C" {

cudaError_t cudaStreamCreate(cudaStream_t* out) { return CreateStream(out, 0, 0); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* out, unsigned flags) {
  return CreateStream(out, flags, 0);
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* out, unsigned flags, int priority) {
  return CreateStream(out, flags, priority);
}

cudaError_t cudaStreamGetPriority(cudaStream_t handle, int* priority) {
  return Call([&](World& w, Lock&) {
    auto s = FindStream(w, handle);
    if (s == nullptr) return cudaErrorInvalidResourceHandle;
    *priority = s->priority;
    return cudaSuccess;
  });
}

// What is queued still runs.
cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  return Call(
      [&](World& w, Lock&) {
        auto found = w.streams.find(handle);
        if (found == w.streams.end()) return cudaErrorInvalidResourceHandle;
        if (found->second->capture != nullptr) Invalidate(*found->second);
        if (!found->second->operations.empty()) w.retired.push_back(found->second);
        w.streams.erase(found);
        return cudaSuccess;
      },
      Rules::kCleanup);
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  return Call([&](World& w, Lock& lock) {
    auto s = FindStream(w, handle);
    if (s == nullptr) return cudaErrorInvalidResourceHandle;
    if (s->capture != nullptr) return Invalidate(*s);
    Drain(w, lock, *s);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  return Call([&](World& w, Lock& lock) {
    auto s = FindStream(w, handle);
    if (s == nullptr) return cudaErrorInvalidResourceHandle;
    if (s->capture != nullptr) return Invalidate(*s);
    Poll(w, lock);
    return s->operations.empty() ? cudaSuccess : cudaErrorNotReady;
  });
}

cudaError_t cudaDeviceSynchronize() {
  return Call([](World& w, Lock& lock) {
    if (!w.captures.empty()) return InvalidateAll(w);
    DrainAll(w, lock);
    const std::string damage = w.memory.FindDamage();
    if (!damage.empty()) FailDevice(damage.c_str());
    return cudaSuccess;
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
  return Call([&](World& w, Lock& lock) {
    auto s = FindStream(w, handle);
    if (s == nullptr || w.events.count(event) == 0) return cudaErrorInvalidResourceHandle;
    if (event->capture != nullptr) {  // the stream joins the capture
      if (s->capture == nullptr) s->capture = event->capture;
      if (s->capture != event->capture) return Invalidate(*s);
      s->capture_tail.insert(s->capture_tail.end(), event->capture_tail.begin(),
                             event->capture_tail.end());
      return cudaSuccess;
    }
    if (s->capture != nullptr) {
      Invalidate(*s);
      return cudaErrorStreamCaptureIsolation;
    }
    if (Pending(*event)) Add(w, lock, *s, {nullptr, event->last, nullptr});
    return cudaSuccess;
  });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t function, void* argument) {
  if (function == nullptr) return Report(cudaErrorInvalidValue);
  return Enqueue(handle, [=] {
    const BlockingRegion others_run;  // it may take locks that callers of CUDA hold
    const HostFunctionScope scope;
    function(argument);
  });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* out, unsigned flags) {
  return Call([&](World& w, Lock&) {
    constexpr unsigned kKnown = cudaEventBlockingSync | cudaEventDisableTiming;
    if (out == nullptr || (flags & ~kKnown) != 0) return cudaErrorInvalidValue;
    auto* e = new CUevent_st;
    e->timing = (flags & cudaEventDisableTiming) == 0;
    w.events.insert(e);
    *out = e;
    return cudaSuccess;
  });
}
cudaError_t cudaEventCreate(cudaEvent_t* out) {
  return cudaEventCreateWithFlags(out, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return Call(
      [&](World& w, Lock&) {
        if (w.events.erase(event) == 0) return cudaErrorInvalidResourceHandle;
        delete event;
        return cudaSuccess;
      },
      Rules::kCleanup);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle) {
  return Call([&](World& w, Lock& lock) {
    auto s = FindStream(w, handle);
    if (s == nullptr || w.events.count(event) == 0) return cudaErrorInvalidResourceHandle;
    event->capture = s->capture;
    event->capture_tail = s->capture_tail;
    if (s->capture != nullptr) return cudaSuccess;
    event->last = std::make_shared<Record>();
    event->last->stream = s;
    Add(w, lock, *s, {nullptr, nullptr, event->last});
    return cudaSuccess;
  });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  return Call([&](World& w, Lock& lock) {
    if (w.events.count(event) == 0) return cudaErrorInvalidResourceHandle;
    if (event->capture != nullptr) return cudaErrorCapturedEvent;
    Poll(w, lock);
    return Pending(*event) ? cudaErrorNotReady : cudaSuccess;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return Call([&](World& w, Lock& lock) {
    if (w.events.count(event) == 0) return cudaErrorInvalidResourceHandle;
    if (event->capture != nullptr) return cudaErrorCapturedEvent;
    const auto record = event->last;
    const auto s = record != nullptr ? record->stream.lock() : nullptr;
    if (s != nullptr) RunUntil(w, lock, *s, [&] { return record->done; });
    return cudaSuccess;
  });
}

cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t start, cudaEvent_t end) {
  return Call([&](World& w, Lock&) {
    if (w.events.count(start) == 0 || w.events.count(end) == 0) {
      return cudaErrorInvalidResourceHandle;
    }
    if (!start->timing || !end->timing || start->last == nullptr || end->last == nullptr) {
      return cudaErrorInvalidResourceHandle;
    }
    if (Pending(*start) || Pending(*end)) return cudaErrorNotReady;
    *ms = std::chrono::duration<float, std::milli>(end->last->time - start->last->time).count();
    return cudaSuccess;
  });
}

}  // extern "C"
