// Launches: what is posted, compared with the peer's, and moved.
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "fake_cuda.h"
#include "fake_nccl_world.h"

namespace fake_nccl {
namespace {

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
  if (op->fate_at_half == Fate::kCorrupt) op->memory[0] = static_cast<char>(op->memory[0] ^ 1);
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

}  // namespace

Siblings SiblingsOf(const ncclComm* c) {
  Siblings siblings;
  size_t n = 0;
  for (const auto& other : Communicators()) {
    std::lock_guard lock(other->mu);
    if (other.get() == c || other->issuer != c->issuer || other->gone || !other->up ||
        other->peer_issuer != c->peer_issuer || n == siblings.counts.size()) {
      continue;
    }
    siblings.counts[n++] = {other->id, other->launches};
  }
  return siblings;
}

void PutOnStream(ncclComm* c, Launch launch) {
  const cudaStream_t stream = launch.front()->stream;
  const cudaError_t error = simt::EnqueuePolled(stream, [c, launch = std::move(launch)] {
    return StepLaunch(c, launch) ? simt::Step::kDone : simt::Step::kAgain;
  });
  if (error == cudaSuccess) return;
  std::lock_guard lock(c->mu);
  c->Break(ncclUnhandledCudaError, "an operation could not be queued on its stream");
}

Launch FinishLaunch(ncclComm* c) {
  Launch launch = std::exchange(c->launching, {});
  for (const auto& op : launch) {
    op->send ? IssueSend(c, *op) : PostRecv(c, *op);
    c->running.push_back(op);
  }
  if (c->state == ncclInProgress) c->state = ncclSuccess;
  return launch;
}

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

}  // namespace fake_nccl
