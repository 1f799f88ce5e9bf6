// Our own definitions of the NCCL functions that the transfer channel uses; the real header
// declares them. fake_nccl.h says what is checked, fake_nccl_world.h how it works.
#include "fake_nccl.h"

#include <nccl.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <utility>

#include "fake_cuda.h"
#include "fake_nccl_world.h"

namespace fake_nccl {

World& world() {
  static World* w = new World;
  return *w;
}

std::vector<std::shared_ptr<ncclComm>> Communicators() {
  World& w = world();
  std::lock_guard lock(w.mu);
  return w.communicators;
}

bool Delayed(int n) {
  World& w = world();
  std::lock_guard lock(w.mu);
  return w.options.seed != 0 && w.random() % static_cast<uint64_t>(n) == 0;
}

void Count(int Violations::*kind, const char* what) {
  World& w = world();
  std::lock_guard lock(w.mu);
  ++(w.violations.*kind);
  std::fprintf(stderr, "fake nccl: %s\n", what);
}

Fate FateOf(Where where) {
  World& w = world();
  std::lock_guard lock(w.mu);
  const int n = w.calls[where]++;
  return w.options.where == where && w.options.at == n ? w.options.fate : Fate::kNone;
}

void Strike(Fate fate) {
  if (fate == Fate::kDie) std::raise(SIGKILL);
  if (fate == Fate::kStop) std::raise(SIGSTOP);
}

namespace {

uint64_t RandomId() {
  std::random_device random;
  return (static_cast<uint64_t>(random()) << 32) | random();
}

thread_local const uint64_t t_issuer = RandomId();
thread_local int t_group_depth = 0;
thread_local std::vector<std::pair<ncclComm*, std::shared_ptr<Operation>>> t_group;

// ---- checks at every call

ncclResult_t CheckCaller(ncclComm* c, const char* call, bool may_be_busy) {
  if (c == nullptr) return ncclInvalidArgument;
  if (c->thread != std::this_thread::get_id()) {
    Count(&Violations::threads, "a communicator is used by two threads");
    return ncclInvalidUsage;
  }
  std::lock_guard lock(c->mu);
  if (c->gone || (c->revoked && !may_be_busy)) {
    Count(&Violations::use_after, call);
    return ncclInvalidArgument;
  }
  if (!may_be_busy && c->state == ncclInProgress) {
    Count(&Violations::use_after, call);
    return ncclInvalidUsage;
  }
  return may_be_busy ? ncclSuccess : c->state;
}

ncclResult_t CheckConfig(const ncclConfig_t* config) {
  if (config == nullptr) return ncclSuccess;
  if (config->size != sizeof(ncclConfig_t) || config->magic != 0xcafebeef) {
    Count(&Violations::config, "ncclConfig_t was not initialised with NCCL_CONFIG_INITIALIZER");
    return ncclInvalidArgument;
  }
  if (config->splitShare != NCCL_CONFIG_UNDEF_INT && config->splitShare != 0) {
    Count(&Violations::config, "splitShare would put both communicators on one device stream");
    return ncclInvalidArgument;
  }
  const int blocking = config->blocking;
  if (blocking != NCCL_CONFIG_UNDEF_INT && blocking != 0 && blocking != 1) {
    Count(&Violations::config, "blocking is neither 0 nor 1");
    return ncclInvalidArgument;
  }
  return ncclSuccess;
}

size_t SizeOf(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8:
      return 1;
    case ncclFloat16:
    case ncclBfloat16:
      return 2;
    case ncclInt64:
    case ncclUint64:
    case ncclFloat64:
      return 8;
    default:
      return 4;
  }
}

ncclResult_t LaunchNow(ncclComm* c, Launch launch) {
  bool at_once = false;
  const Siblings siblings = SiblingsOf(c);
  {
    std::lock_guard lock(c->mu);
    ++c->launches;
    for (const auto& op : launch) op->siblings = siblings;
    c->launching = std::move(launch);
    // The first launch connects, which takes long.
    c->launch_polls = c->used ? 1 : 6;
    if (std::exchange(c->used, true) == false) c->launch_polls += Delayed(2) ? 9 : 0;
    for (int i = 0; i < 3; ++i) c->launch_polls += Delayed(2);
    at_once = c->blocking;
    c->state = ncclInProgress;
  }
  return at_once ? PollUntilDone(c) : ncclInProgress;
}

ncclResult_t LaunchGroup() {
  ncclResult_t result = ncclSuccess;
  auto group = std::exchange(t_group, {});
  while (!group.empty()) {
    ncclComm* c = group.front().first;
    Launch launch;
    for (const auto& [comm, op] : group) {
      if (comm == c) launch.push_back(op);
    }
    std::erase_if(group, [c](const auto& entry) { return entry.first == c; });
    const ncclResult_t launched = LaunchNow(c, std::move(launch));
    if (launched != ncclSuccess) result = launched;
  }
  return result;
}

ncclResult_t AddOperation(ncclComm* c, void* memory, size_t bytes, int peer, bool send,
                          cudaStream_t stream) {
  const ncclResult_t allowed = CheckCaller(c, send ? "ncclSend" : "ncclRecv", false);
  if (allowed != ncclSuccess) return allowed;
  if (peer != 1 - c->rank || memory == nullptr || bytes == 0) return ncclInvalidArgument;
  auto op = std::make_shared<Operation>();
  *op = {.memory = static_cast<char*>(memory), .bytes = bytes, .send = send, .stream = stream};
  const Fate fate = FateOf(send ? Where::kSend : Where::kRecv);
  Strike(fate);
  if (fate == Fate::kFail) {
    std::lock_guard lock(c->mu);
    c->Break(ncclSystemError, "failed by the test");
    return ncclSystemError;
  }
  op->hangs = fate == Fate::kHang;
  op->fate_at_half = FateOf(send ? Where::kSendHalf : Where::kRecvHalf);
  t_group.emplace_back(c, std::move(op));
  return t_group_depth > 0 ? ncclSuccess : LaunchGroup();
}

// Operations of the same two issuers that run on other communicators, which would wait for a peer.
bool SiblingRuns(const ncclComm* c) {
  for (const auto& other : Communicators()) {
    if (other.get() == c || other->issuer != c->issuer) continue;
    std::lock_guard lock(other->mu);
    if (other->peer_issuer == c->peer_issuer && !other->gone && !other->revoked &&
        !other->running.empty()) {
      return true;
    }
  }
  return false;
}

// Aborts of one group happen together.
thread_local std::vector<ncclComm*> t_aborts;

void AbortAll() {
  const std::vector<ncclComm*> aborts = std::exchange(t_aborts, {});
  for (ncclComm* c : aborts) {
    std::lock_guard lock(c->mu);
    c->gone = true;
    c->running.clear();
    c->launching.clear();
    c->CloseAll();
  }
  for (ncclComm* c : aborts) {
    if (c->peer_issuer != 0 && SiblingRuns(c)) {
      Count(&Violations::abort_alone, "aborted while an operation runs on the pair's other one");
    }
  }
}

}  // namespace

void Reset(const Options& options) {
  World& w = world();
  std::lock_guard lock(w.mu);
  w.options = options;
  w.violations = {};
  w.calls.clear();
  w.random.seed(options.seed);
}

Violations violations() {
  World& w = world();
  std::lock_guard lock(w.mu);
  return w.violations;
}

int calls(Where where) {
  World& w = world();
  std::lock_guard lock(w.mu);
  return w.calls[where];
}

int live_communicators() {
  int n = 0;
  for (const auto& c : Communicators()) {
    std::lock_guard lock(c->mu);
    n += !c->gone;
  }
  return n;
}

int running_operations() {
  int n = 0;
  for (const auto& c : Communicators()) {
    std::lock_guard lock(c->mu);
    n += static_cast<int>(c->running.size());
  }
  return n;
}

}  // namespace fake_nccl

using namespace fake_nccl;

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess:
      return "no error";
    case ncclSystemError:
      return "unhandled system error";
    case ncclInvalidArgument:
      return "invalid argument";
    case ncclInvalidUsage:
      return "invalid usage";
    case ncclRemoteError:
      return "remote process exited or there was a network error";
    case ncclInProgress:
      return "in progress";
    default:
      return "internal error";
  }
}

const char* ncclGetLastError(ncclComm_t c) { return c == nullptr ? "" : c->error.c_str(); }

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  *id = {};
  std::snprintf(id->internal, sizeof(id->internal), "lynx-fake-nccl-%016llx%016llx",
                static_cast<unsigned long long>(RandomId()),
                static_cast<unsigned long long>(RandomId()));
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* out, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  *out = nullptr;
  const ncclResult_t valid = CheckConfig(config);
  if (valid != ncclSuccess) return valid;
  if (ranks != 2 || rank < 0 || rank > 1) return ncclInvalidArgument;
  const Fate fate = FateOf(Where::kInit);
  Strike(fate);
  if (fate == Fate::kFail) return ncclSystemError;
  auto comm = std::make_shared<ncclComm>();
  comm->rank = rank;
  comm->blocking = config == nullptr || config->blocking != 0;
  comm->traffic_class = config == nullptr ? NCCL_CONFIG_UNDEF_INT : config->trafficClass;
  comm->issuer = t_issuer;
  comm->thread = std::this_thread::get_id();
  comm->address = id.internal;
  comm->id = std::hash<std::string>()(comm->address) | 1;
  comm->hangs = fate == Fate::kHang;
  if (rank == 0 && !Listen(comm.get())) return ncclSystemError;
  {
    World& w = world();
    std::lock_guard lock(w.mu);
    w.communicators.push_back(comm);
  }
  *out = comm.get();
  return comm->blocking ? PollUntilDone(comm.get()) : ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t c, ncclResult_t* error) {
  const ncclResult_t allowed = CheckCaller(c, "ncclCommGetAsyncError", true);
  if (allowed != ncclSuccess) return allowed;
  Poll(c);
  std::lock_guard lock(c->mu);
  *error = c->state;
  return ncclSuccess;
}

ncclResult_t ncclGroupStart() {
  ++t_group_depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  if (t_group_depth == 0) return ncclInvalidUsage;
  if (--t_group_depth > 0) return ncclSuccess;
  AbortAll();
  return LaunchGroup();
}

ncclResult_t ncclSend(const void* memory, size_t count, ncclDataType_t type, int peer, ncclComm_t c,
                      cudaStream_t stream) {
  return AddOperation(c, const_cast<void*>(memory), count * SizeOf(type), peer, true, stream);
}

ncclResult_t ncclRecv(void* memory, size_t count, ncclDataType_t type, int peer, ncclComm_t c,
                      cudaStream_t stream) {
  return AddOperation(c, memory, count * SizeOf(type), peer, false, stream);
}

ncclResult_t ncclCommRevoke(ncclComm_t c, int flags) {
  const ncclResult_t allowed = CheckCaller(c, "ncclCommRevoke", true);
  if (allowed != ncclSuccess || flags != NCCL_REVOKE_DEFAULT) return ncclInvalidArgument;
  std::lock_guard lock(c->mu);
  if (!c->up) return ncclInvalidUsage;
  c->revoked = true;
  c->running.clear();
  c->launching.clear();
  c->state = ncclSuccess;
  return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t c) {
  if (c == nullptr) return ncclInvalidArgument;
  {
    std::lock_guard lock(c->mu);
    if (c->gone) {
      Count(&Violations::use_after, "ncclCommAbort");
      return ncclInvalidArgument;
    }
  }
  t_aborts.push_back(c);
  if (t_group_depth == 0) AbortAll();
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t c) {
  const ncclResult_t allowed = CheckCaller(c, "ncclCommFinalize", false);
  if (allowed != ncclSuccess) return allowed;
  std::lock_guard lock(c->mu);
  c->finalized = true;
  return ncclSuccess;
}

ncclResult_t ncclCommDestroy(ncclComm_t c) {
  const ncclResult_t allowed = CheckCaller(c, "ncclCommDestroy", true);
  if (allowed != ncclSuccess) return allowed;
  std::lock_guard lock(c->mu);
  if (!c->running.empty()) {
    Count(&Violations::use_after, "ncclCommDestroy while an operation runs");
    return ncclInvalidUsage;
  }
  c->gone = true;
  c->CloseAll();
  return ncclSuccess;
}
}
