// Our own definitions of the NCCL functions that the transfer channel uses; the real header
// declares them. fake_nccl.h says what is checked.
//
// Two ranks meet on an abstract Unix socket named by the unique id and keep two connections: `data`
// carries a record and its bytes for each send, `notes` tells the sender of each recv that was
// posted. Nothing here waits but a blocking initialisation: operations are steps of a stream,
// initialisation and launches move when the communicator is polled.
#include "fake_nccl.h"

#include <nccl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "fake_cuda.h"

namespace fake_nccl {
namespace {

// What a launch knows of the other communicators between the same two issuers.
struct Siblings {
  struct Count {
    uint64_t id = 0;
    uint64_t launches = 0;
  };
  std::array<Count, 4> counts{};  // id 0: none
};

// A send's record, or a recv's note.
struct Record {
  uint64_t bytes = 0;
  Siblings siblings{};
};

struct Hello {
  uint64_t issuer = 0;
  int32_t traffic_class = 0;
  uint32_t is_notes = 0;
};

struct Operation {
  char* memory = nullptr;
  uint64_t bytes = 0;
  bool send = false;
  Siblings siblings{};  // when it was launched
  uint64_t moved = 0;
  size_t record_moved = 0;
  Record record{};
  Fate fate_at_half = Fate::kNone;
  bool hangs = false;
  cudaStream_t stream = nullptr;

  bool over() const { return moved == bytes && record_moved == sizeof(Record); }
};
using Launch = std::vector<std::shared_ptr<Operation>>;

struct World {
  std::mutex mu;
  Options options;
  Violations violations;
  std::map<Where, int> calls;
  std::mt19937_64 random;
  std::vector<std::shared_ptr<ncclComm>> communicators;  // never freed: a late use must show
};
World& world() {
  static World* w = new World;
  return *w;
}

// True about once in `n` times, if delays are wanted.
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

// Counts a call and says what becomes of it.
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

uint64_t RandomId() {
  std::random_device random;
  return (static_cast<uint64_t>(random()) << 32) | random();
}

thread_local const uint64_t t_issuer = RandomId();
thread_local int t_group_depth = 0;
thread_local std::vector<std::pair<ncclComm*, std::shared_ptr<Operation>>> t_group;

}  // namespace
}  // namespace fake_nccl

using namespace fake_nccl;  // the struct's name is given by nccl.h

struct ncclComm {
  // Set by init.
  int rank = 0;
  bool blocking = true;
  int traffic_class = 0;
  uint64_t issuer = 0;
  std::thread::id thread;
  std::string address;  // of rank 0's listener, without the leading zero
  uint64_t id = 0;      // the same on both sides

  std::mutex mu;  // guards what follows
  ncclResult_t state = ncclInProgress;
  std::string error;
  bool hangs = false;  // in initialisation, by fate
  bool up = false;
  bool used = false;  // the first launch connects
  bool revoked = false;
  bool finalized = false;
  bool gone = false;  // aborted or destroyed
  int listener = -1, data = -1, notes = -1;
  uint64_t peer_issuer = 0;
  uint64_t launches = 0;
  int launch_polls = 0;  // until `launching` is on its stream
  Launch launching;
  std::deque<std::shared_ptr<Operation>> running;
  std::deque<Record> posted;  // by the peer, and not met by a send

  ~ncclComm() { CloseAll(); }
  void CloseAll() {
    for (int* fd : {&listener, &data, &notes}) {
      if (*fd >= 0) ::close(*fd);
      *fd = -1;
    }
  }
  void Break(ncclResult_t result, std::string why) {
    if (state != ncclSuccess && state != ncclInProgress) return;
    state = result;
    error = std::move(why);
  }
};

namespace fake_nccl {
namespace {

socklen_t FillAddress(const std::string& name, sockaddr_un* address) {
  *address = {};
  address->sun_family = AF_UNIX;
  const size_t n = std::min(name.size(), sizeof(address->sun_path) - 1);
  std::copy_n(name.data(), n, address->sun_path + 1);
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + n);
}

int OpenSocket() { return ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); }

// ---- initialisation, in steps

bool Listen(ncclComm* c) {
  sockaddr_un address;
  const socklen_t length = FillAddress(c->address, &address);
  c->listener = OpenSocket();
  return ::bind(c->listener, reinterpret_cast<sockaddr*>(&address), length) == 0 &&
         ::listen(c->listener, 4) == 0;
}

int Accept(ncclComm* c) { return ::accept4(c->listener, nullptr, nullptr, SOCK_NONBLOCK); }

int Connect(ncclComm* c) {
  sockaddr_un address;
  const socklen_t length = FillAddress(c->address, &address);
  const int fd = OpenSocket();
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), length) == 0) return fd;
  ::close(fd);
  return -1;
}

void SendHello(ncclComm* c, int fd, bool is_notes) {
  const Hello hello{c->issuer, c->traffic_class, is_notes};
  if (::send(fd, &hello, sizeof(hello), MSG_NOSIGNAL) != sizeof(hello)) {
    c->Break(ncclRemoteError, "the peer left during initialisation");
  }
}

// True when the peer's hello is in.
bool ReadHello(ncclComm* c, int fd, bool is_notes) {
  Hello hello;
  const ssize_t n = ::recv(fd, &hello, sizeof(hello), MSG_DONTWAIT);
  if (n < 0 && errno == EAGAIN) return false;
  if (n != sizeof(hello) || hello.is_notes != is_notes) {
    c->Break(ncclRemoteError, "the peer left during initialisation");
    return false;
  }
  if (hello.traffic_class != c->traffic_class) {
    Count(&Violations::config, "the two ranks differ in trafficClass");
    c->Break(ncclInvalidArgument, "the two ranks differ in trafficClass");
  }
  c->peer_issuer = hello.issuer;
  return true;
}

// `data`, then `notes`: each is opened, then greeted.
void StepInit(ncclComm* c) {
  if (c->hangs || Delayed(2)) return;
  for (int* fd : {&c->data, &c->notes}) {
    const bool is_notes = fd == &c->notes;
    if (*fd >= 0) continue;
    const int opened = c->rank == 0 ? Accept(c) : Connect(c);
    if (opened < 0) return;
    *fd = opened;
    SendHello(c, opened, is_notes);
  }
  // One hello on each connection; `up` says that both are in.
  if (c->peer_issuer == 0 && !ReadHello(c, c->data, false)) return;
  if (!ReadHello(c, c->notes, true)) return;
  if (c->listener >= 0) ::close(std::exchange(c->listener, -1));
  c->up = true;
  if (c->state == ncclInProgress) c->state = ncclSuccess;
}

// ---- launches

void ReadNotes(ncclComm* c) {
  Record note;
  while (::recv(c->notes, &note, sizeof(note), MSG_DONTWAIT) == sizeof(note)) {
    c->posted.push_back(note);
  }
}

void Violate(ncclComm* c, int Violations::*kind, const std::string& what) {
  Count(kind, what.c_str());
  c->Break(ncclInvalidUsage, what);
}

// Communicators that only one side still has are not compared.
bool SameOrder(const Siblings& ours, const Siblings& peers) {
  for (const Siblings::Count& a : ours.counts) {
    for (const Siblings::Count& b : peers.counts) {
      if (a.id != 0 && a.id == b.id && a.launches != b.launches) return false;
    }
  }
  return true;
}

Siblings SiblingsOf(const ncclComm* c) {
  std::vector<std::shared_ptr<ncclComm>> all;
  {
    World& w = world();
    std::lock_guard lock(w.mu);
    all = w.communicators;
  }
  Siblings siblings;
  size_t n = 0;
  for (const auto& other : all) {
    std::lock_guard lock(other->mu);
    if (other.get() == c || other->issuer != c->issuer || other->gone || !other->up ||
        other->peer_issuer != c->peer_issuer || n == siblings.counts.size()) {
      continue;
    }
    siblings.counts[n++] = {other->id, other->launches};
  }
  return siblings;
}

void CompareWithPeer(ncclComm* c, const Operation& op, const Record& peers) {
  if (!SameOrder(op.siblings, peers.siblings)) {
    Violate(c, &Violations::order, "launches in different order on the two sides");
  } else if (peers.bytes != op.bytes) {
    Violate(c, &Violations::length,
            "the peer's operation of " + std::to_string(peers.bytes) + " bytes meets ours of " +
                std::to_string(op.bytes));
  }
}

void IssueSend(ncclComm* c, const Operation& op) {
  ReadNotes(c);
  if (c->posted.empty()) {
    return Violate(c, &Violations::send_before_recv,
                   "a send was issued before its recv was posted");
  }
  CompareWithPeer(c, op, c->posted.front());
  c->posted.pop_front();
}

void PostRecv(ncclComm* c, const Operation& op) {
  const Record note{op.bytes, op.siblings};
  // The kernel's buffer takes far more of these than are ever posted.
  (void)::send(c->notes, &note, sizeof(note), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void PeerIsGone(ncclComm* c) { c->Break(ncclRemoteError, "the peer is gone"); }

// Moves some bytes. False: it must wait.
bool MoveSend(ncclComm* c, Operation* op, size_t limit) {
  ssize_t n = 0;
  if (op->record_moved < sizeof(Record)) {
    op->record = {op->bytes, op->siblings};
    n = ::send(c->data, reinterpret_cast<char*>(&op->record) + op->record_moved,
               sizeof(Record) - op->record_moved, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) op->record_moved += static_cast<size_t>(n);
  } else {
    n = ::send(c->data, op->memory + op->moved, std::min<size_t>(limit, op->bytes - op->moved),
               MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) op->moved += static_cast<size_t>(n);
  }
  if (n < 0 && errno != EAGAIN && errno != EINTR) PeerIsGone(c);
  return n > 0;
}

bool MoveRecv(ncclComm* c, Operation* op, size_t limit) {
  ssize_t n = 0;
  if (op->record_moved < sizeof(Record)) {
    n = ::recv(c->data, reinterpret_cast<char*>(&op->record) + op->record_moved,
               sizeof(Record) - op->record_moved, MSG_DONTWAIT);
    if (n > 0) op->record_moved += static_cast<size_t>(n);
    if (n > 0 && op->record_moved == sizeof(Record)) CompareWithPeer(c, *op, op->record);
  } else {
    n = ::recv(c->data, op->memory + op->moved, std::min<size_t>(limit, op->bytes - op->moved),
               MSG_DONTWAIT);
    if (n > 0) op->moved += static_cast<size_t>(n);
  }
  if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) PeerIsGone(c);
  return n > 0;
}

void StrikeAtHalf(ncclComm* c, Operation* op) {
  if (op->fate_at_half == Fate::kNone || op->moved < op->bytes / 2) return;
  if (op->fate_at_half == Fate::kFail) c->Break(ncclSystemError, "failed in mid-operation");
  if (op->fate_at_half == Fate::kHang) op->hangs = true;
  Strike(op->fate_at_half);
  op->fate_at_half = Fate::kNone;
}

// One step of the oldest operation in each direction. True: the launch is over.
bool StepLaunch(ncclComm* c, const Launch& launch) {
  size_t limit = 0;
  {
    World& w = world();
    std::lock_guard lock(w.mu);
    limit = w.options.step_bytes;
  }
  const bool delayed = Delayed(3);
  std::lock_guard lock(c->mu);
  if (c->gone || c->revoked) return true;
  // As on a device: what failed stays on its stream until somebody aborts it.
  if (delayed || c->state != ncclSuccess) return false;
  for (bool send : {true, false}) {
    for (const auto& op : launch) {
      if (op->send != send || op->over()) continue;
      if (op->hangs) return false;
      while (!op->over() && (send ? MoveSend(c, op.get(), limit) : MoveRecv(c, op.get(), limit)) &&
             op->moved == 0) {
      }
      StrikeAtHalf(c, op.get());
      break;  // one after another, as the bytes are on the connection
    }
  }
  const bool over = c->state == ncclSuccess &&
                    std::all_of(launch.begin(), launch.end(), [](auto& op) { return op->over(); });
  if (over) std::erase_if(c->running, [&](auto& op) { return op->over(); });
  return over;
}

// On its stream from now on. c->mu is not held: streams have a lock of their own, above it.
void PutOnStream(ncclComm* c, Launch launch) {
  const cudaStream_t stream = launch.front()->stream;
  const cudaError_t error = simt::EnqueuePolled(stream, [c, launch = std::move(launch)] {
    return StepLaunch(c, launch) ? simt::Step::kDone : simt::Step::kAgain;
  });
  if (error == cudaSuccess) return;
  std::lock_guard lock(c->mu);
  c->Break(ncclUnhandledCudaError, "an operation could not be queued on its stream");
}

// Posts or issues what is being launched; returns what belongs on the stream.
Launch FinishLaunch(ncclComm* c) {
  Launch launch = std::exchange(c->launching, {});
  for (const auto& op : launch) {
    op->send ? IssueSend(c, *op) : PostRecv(c, *op);
    c->running.push_back(op);
  }
  if (c->state == ncclInProgress) c->state = ncclSuccess;
  return launch;
}

// Moves initialisation or a launch on, as the real one's own threads would.
void Poll(ncclComm* c) {
  Launch launch;
  {
    std::lock_guard lock(c->mu);
    if (c->gone || c->state != ncclInProgress) return;
    if (!c->up) return StepInit(c);
    if (c->launching.empty() || --c->launch_polls > 0) return;
    launch = FinishLaunch(c);
  }
  PutOnStream(c, std::move(launch));
}

ncclResult_t PollUntilDone(ncclComm* c) {
  while (true) {
    Poll(c);
    std::lock_guard lock(c->mu);
    if (c->state != ncclInProgress) return c->state;
    std::this_thread::yield();
  }
}

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
  std::vector<std::shared_ptr<ncclComm>> all;
  {
    World& w = world();
    std::lock_guard lock(w.mu);
    all = w.communicators;
  }
  for (const auto& other : all) {
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
  World& w = world();
  std::lock_guard lock(w.mu);
  int n = 0;
  for (const auto& c : w.communicators) {
    std::lock_guard comm_lock(c->mu);
    n += !c->gone;
  }
  return n;
}

int running_operations() {
  World& w = world();
  std::lock_guard lock(w.mu);
  int n = 0;
  for (const auto& c : w.communicators) {
    std::lock_guard comm_lock(c->mu);
    n += static_cast<int>(c->running.size());
  }
  return n;
}

}  // namespace fake_nccl

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
