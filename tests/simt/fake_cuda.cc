// Our own definitions of the CUDA runtime's functions; the real header declares them. Device memory
// is host memory. FAKE_CUDA=immediate: work runs in the call. FAKE_CUDA=lazy (default): work is
// queued per stream and runs only when somebody synchronizes or polls, so a missing event wait or
// stream synchronize shows every time instead of once a month.
#include <cuda_runtime_api.h>
#include <simt.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
struct CUevent_st {
  uint64_t asked = 0, done = 0;
  CUstream_st* owner = nullptr;
};
struct CUstream_st {
  struct Op {
    std::function<void()> fn;
    CUevent_st* rec = nullptr;
    CUevent_st* wait = nullptr;
    uint64_t ticket = 0;
  };
  std::deque<Op> q;
  bool running = false;
};
namespace fake {
struct World {
  std::recursive_mutex mu;
  std::set<CUstream_st*> streams;
  std::map<char*, size_t> pinned, device;
  CUstream_st def;
  uint64_t tickets = 0, rng = 88172645463325252ull;
  bool lazy = !(getenv("FAKE_CUDA") && !strcmp(getenv("FAKE_CUDA"), "immediate")),
       in_host_fn = false;
  long fail_after = -1;  // fault injection: allocation number that fails
};
World& W() {
  static World* w = new World;
  return *w;
}
CUstream_st* S(cudaStream_t s) { return reinterpret_cast<uintptr_t>(s) < 16 ? &W().def : s; }
bool Step(CUstream_st* s);
void Until(CUevent_st* e, uint64_t t) {
  while (e->done < t)
    if (!Step(e->owner)) {
      fprintf(stderr, "fake cuda: event can never complete\n");
      abort();
    }
}
// One operation of s; false if there is none (or it is the one being run).
bool Step(CUstream_st* s) {
  if (s->q.empty() || s->running) return false;
  s->running = true;
  auto op = std::move(s->q.front());
  s->q.pop_front();
  if (op.wait) Until(op.wait, op.ticket);
  if (op.fn) op.fn();
  if (op.rec) op.rec->done = op.ticket;
  s->running = false;
  return true;
}
void Drain(CUstream_st* s) {
  while (Step(s)) {
  }
}
void DrainAll() {
  auto& w = W();
  Drain(&w.def);
  for (auto* s : w.streams) Drain(s);
}
void SomeProgress() {  // a poll moves a random number of operations on random streams
  auto& w = W();
  for (auto* s : w.streams) {
    w.rng ^= w.rng << 13;
    w.rng ^= w.rng >> 7;
    w.rng ^= w.rng << 17;
    if (w.rng & 1) Step(s);
  }
  Step(&w.def);
}
void Enqueue(cudaStream_t st,
             std::function<void()> fn) {  // kernels (Launch) and NCCL come through here too
  std::lock_guard l(W().mu);
  auto* s = S(st);
  s->q.push_back({std::move(fn)});
  if (!W().lazy) Drain(s);
}
bool In(const std::map<char*, size_t>& m, const void* p) {
  auto it = m.upper_bound(static_cast<char*>(const_cast<void*>(p)));
  return it != m.begin() && (--it, static_cast<const char*>(p) < it->first + it->second);
}
cudaError_t Alloc(std::map<char*, size_t>& m, void** p, size_t n) {
  std::lock_guard l(W().mu);
  if (W().fail_after >= 0 && W().fail_after-- == 0) return cudaErrorMemoryAllocation;
  char* c = static_cast<char*>(aligned_alloc(256, (n + 255) & ~size_t{255}));
  if (!c) return cudaErrorMemoryAllocation;
  memset(c, 0xFF, n);
  m[c] = n;
  *p = c;
  return cudaSuccess;
}
cudaError_t Free(std::map<char*, size_t>& m, void* p) {
  std::lock_guard l(W().mu);
  if (!p) return cudaSuccess;
  if (!m.erase(static_cast<char*>(p))) return cudaErrorInvalidValue;
  DrainAll();
  free(p);
  return cudaSuccess;
}
}  // namespace fake
using namespace fake;
namespace {
thread_local cudaError_t t_error = cudaSuccess;
cudaError_t Status() { return simt::last_error[0] ? cudaErrorLaunchFailure : cudaSuccess; }
}  // namespace
namespace simt {
cudaError_t RejectLaunch() { return t_error = cudaErrorInvalidConfiguration; }
void Enqueue(cudaStream_t st, std::function<void()> fn) { fake::Enqueue(st, std::move(fn)); }
}  // namespace simt

#define LOCK                                             \
  std::lock_guard lock_(W().mu);                         \
  if (W().in_host_fn) {                                  \
    fprintf(stderr, "CUDA call from a host function\n"); \
    abort();                                             \
  }
extern "C" {
cudaError_t cudaGetDeviceCount(int* n) {
  *n = 2;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* v, cudaDeviceAttr a, int) {
  switch (a) {
    case cudaDevAttrMultiProcessorCount:
      *v = 2;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *v = 227 << 10;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *v = 48 << 10;
      return cudaSuccess;
    case cudaDevAttrWarpSize:
      *v = 32;
      return cudaSuccess;
    case cudaDevAttrMaxThreadsPerBlock:
      *v = 1024;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *v = 9;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *v = 0;
      return cudaSuccess;
    default:
      return cudaErrorInvalidValue;
  }
}
cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  if (least) *least = 0;
  if (greatest) *greatest = -5;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total) {
  std::lock_guard l(W().mu);
  size_t used = 0;
  for (auto& [p, n] : W().device) used += n;
  *total = size_t{1} << 30;
  *free_bytes = *total > used ? *total - used : 0;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* v) {
  *v = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* v) {
  *v = CUDART_VERSION;
  return cudaSuccess;
}
static thread_local int t_dev = 0;
cudaError_t cudaSetDevice(int d) {
  if (d < 0 || d > 1) return cudaErrorInvalidDevice;
  t_dev = d;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* d) {
  *d = t_dev;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
  memset(p, 0, sizeof *p);
  strcpy(p->name, "emulated");
  p->major = 9;
  p->multiProcessorCount = 2;
  p->sharedMemPerBlockOptin = 227 << 10;
  return cudaSuccess;
}
cudaError_t cudaMalloc(void** p, size_t n) { return Alloc(W().device, p, n); }
cudaError_t cudaFree(void* p) { return Free(W().device, p); }
cudaError_t cudaMallocHost(void** p, size_t n) { return Alloc(W().pinned, p, n); }
cudaError_t cudaHostAlloc(void** p, size_t n, unsigned) { return Alloc(W().pinned, p, n); }
cudaError_t cudaFreeHost(void* p) { return Free(W().pinned, p); }
cudaError_t cudaMemcpyAsync(void* d, const void* s, size_t n, cudaMemcpyKind k, cudaStream_t st) {
  LOCK bool sd = In(W().device, s), dd = In(W().device, d);
  if (k == cudaMemcpyDefault)
    k = sd ? (dd ? cudaMemcpyDeviceToDevice : cudaMemcpyDeviceToHost) : cudaMemcpyHostToDevice;
  if ((k == cudaMemcpyHostToDevice && (sd || !dd)) || (k == cudaMemcpyDeviceToHost && (!sd || dd)))
    return cudaErrorInvalidValue;
  if (k == cudaMemcpyHostToDevice && !In(W().pinned, s)) {  // pageable: the source is taken now
    std::string tmp(static_cast<const char*>(s), n);
    Enqueue(st, [d, tmp = std::move(tmp)] { memcpy(d, tmp.data(), tmp.size()); });
  } else {
    Enqueue(st, [d, s, n] { memmove(d, s, n); });
    if (k == cudaMemcpyDeviceToHost && !In(W().pinned, d))
      Drain(S(st));  // pageable: returns when done
  }
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* d, int v, size_t n, cudaStream_t st) {
  LOCK Enqueue(st, [=] { memset(d, v, n); });
  return cudaSuccess;
}
cudaError_t cudaMemset(void* d, int v, size_t n) {
  LOCK Enqueue(nullptr, [=] { memset(d, v, n); });
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* d, const void* s, size_t n, cudaMemcpyKind k) {
  LOCK cudaError_t e = cudaMemcpyAsync(d, s, n, k, nullptr);
  Drain(&W().def);
  return e != cudaSuccess ? e : Status();
}
cudaError_t cudaMemcpy2DAsync(void* d, size_t dp, const void* s, size_t sp, size_t w, size_t h,
                              cudaMemcpyKind k, cudaStream_t st) {
  LOCK for (size_t i = 0; i < h; ++i) {
    cudaError_t e = cudaMemcpyAsync(static_cast<char*>(d) + i * dp,
                                    static_cast<const char*>(s) + i * sp, w, k, st);
    if (e != cudaSuccess) return e;
  }
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* s) { return cudaStreamCreateWithFlags(s, 0); }
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* s, unsigned f, int) {
  return cudaStreamCreateWithFlags(s, f);
}
cudaError_t cudaEventCreate(cudaEvent_t* e) { return cudaEventCreateWithFlags(e, 0); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned) {
  LOCK* s = new CUstream_st;
  W().streams.insert(*s);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t s) {
  LOCK Drain(s);
  W().streams.erase(s);
  delete s;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s) {
  LOCK Drain(S(s));
  return Status();
}
cudaError_t cudaDeviceSynchronize(void) {
  LOCK DrainAll();
  return Status();
}
cudaError_t cudaStreamQuery(cudaStream_t s) {
  LOCK SomeProgress();
  return S(s)->q.empty() ? Status() : cudaErrorNotReady;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) {
  *e = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t e) {
  LOCK if (e->owner) Until(e, e->asked);
  delete e;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t st) {
  LOCK e->owner = S(st);
  e->asked = ++W().tickets;
  e->owner->q.push_back({{}, e, nullptr, e->asked});
  if (!W().lazy) Drain(e->owner);
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned) {
  LOCK if (e->asked) S(s)->q.push_back({{}, nullptr, e, e->asked});
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t e) {
  LOCK SomeProgress();
  return e->done >= e->asked ? Status() : cudaErrorNotReady;
}
cudaError_t cudaEventSynchronize(cudaEvent_t e) {
  LOCK if (e->asked) Until(e, e->asked);
  return Status();
}
cudaError_t cudaLaunchHostFunc(cudaStream_t s, cudaHostFn_t f, void* u) {
  LOCK Enqueue(s, [=] {
    W().in_host_fn = true;
    f(u);
    W().in_host_fn = false;
  });
  return cudaSuccess;
}
cudaError_t cudaGetLastError(void) {
  const cudaError_t e = simt::last_error[0] ? cudaErrorLaunchFailure : t_error;
  t_error = cudaSuccess;
  return e;
}
cudaError_t cudaPeekAtLastError(void) {
  return simt::last_error[0] ? cudaErrorLaunchFailure : t_error;
}
const char* cudaGetErrorName(cudaError_t e) {
  switch (e) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
    default:
      return "an error of the emulation";
  }
}
const char* cudaGetErrorString(cudaError_t e) { return cudaGetErrorName(e); }
}
