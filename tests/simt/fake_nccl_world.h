// What the parts of the fake NCCL share: fake_nccl_init.cc brings two ranks together,
// fake_nccl_launch.cc moves operations, fake_nccl.cc has the checks at every call and NCCL's
// functions.
//
// Two ranks meet on an abstract Unix socket named by the unique id and keep two connections: `data`
// carries a record and its bytes for each send, `notes` tells the sender of each recv that was
// posted. Nothing here waits but a blocking initialisation: operations are steps of a stream,
// initialisation and launches move when the communicator is polled.
#pragma once

#include <nccl.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fake_nccl.h"

namespace fake_nccl {

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
  std::mutex mu;  // below the communicators': none of theirs is taken while it is held
  Options options;
  Violations violations;
  std::map<Where, int> calls;
  std::mt19937_64 random;
  std::vector<std::shared_ptr<ncclComm>> communicators;  // never freed: a late use must show
};
World& world();
std::vector<std::shared_ptr<ncclComm>> Communicators();  // all that were ever made

// True about once in `n` times, if delays are wanted.
bool Delayed(int n);
void Count(int Violations::*kind, const char* what);
// Counts a call and says what becomes of it.
Fate FateOf(Where where);
void Strike(Fate fate);

}  // namespace fake_nccl

// The struct's name is given by nccl.h.
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
  fake_nccl::Launch launching;
  std::deque<std::shared_ptr<fake_nccl::Operation>> running;
  std::deque<fake_nccl::Record> posted;  // by the peer, and not met by a send

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

// Rank 0's part that comes first. False: the name is taken.
bool Listen(ncclComm* c);
// One step of initialisation; c->mu is held.
void StepInit(ncclComm* c);

// Launches and running operations of the communicators between the same two issuers.
Siblings SiblingsOf(const ncclComm* c);
// Queues the launch on its stream. c->mu is not held: streams have a lock of their own, above it.
void PutOnStream(ncclComm* c, Launch launch);
// Posts or issues what is being launched; returns what belongs on the stream. c->mu is held.
Launch FinishLaunch(ncclComm* c);
// Moves initialisation or a launch on, as the real one's own threads would.
void Poll(ncclComm* c);
ncclResult_t PollUntilDone(ncclComm* c);

}  // namespace fake_nccl
