// The fake NCCL: what tests set and see of it. Point-to-point between two ranks, in one process or
// in two on this machine, over Unix sockets.
//
// An issuer is whoever makes NCCL calls: one thread. Beyond what NCCL itself reports, the fake
// finds what would be a deadlock or luck on a device, counts it in Violations and fails the
// communicator: pieces of different lengths, launches on two communicators of the same two issuers
// in different order on the two sides, a send that was issued before its recv was posted, calls for
// one communicator from two threads (but abort), and communicators that share a stream's resources
// (splitShare).
#pragma once

#include <cstddef>
#include <cstdint>

namespace fake_nccl {

enum class Fate : uint8_t {
  kNone,
  kFail,     // the call returns ncclSystemError; an operation in progress fails asynchronously
  kHang,     // nothing more happens, but for an abort
  kCorrupt,  // at half of a recv: its first byte is another, and nobody says so
  kDie,      // SIGKILL to the own process
  kStop,     // SIGSTOP to the own process
};

// Where a fate strikes. Counted over all communicators of the process since Reset.
enum class Where : uint8_t {
  kInit,      // the nth ncclCommInitRankConfig
  kRecv,      // the nth ncclRecv, before it is posted
  kSend,      // the nth ncclSend, before it is issued
  kRecvHalf,  // the nth ncclRecv, when half of its bytes are in
  kSendHalf,  // the nth ncclSend, when half of its bytes are out
};

struct Options {
  // Delays of initialisation, launches and progress; 0: as quick as can be.
  uint64_t seed = 0;
  Fate fate = Fate::kNone;
  Where where = Where::kInit;
  int at = 0;  // counted from 0
  // What a step of an operation moves at most: small, so that operations have a middle.
  size_t step_bytes = 64 << 10;
};

struct Violations {
  int send_before_recv = 0;
  int order = 0;        // launches on two communicators
  int length = 0;       // a send met a recv of another length
  int threads = 0;      // calls from two threads
  int config = 0;       // a communicator's configuration
  int use_after = 0;    // of an aborted or destroyed communicator, or of one that is busy
  int abort_alone = 0;  // while a sibling's operation runs
  int total() const {
    return send_before_recv + order + length + threads + config + use_after + abort_alone;
  }
};

// Before communicators are made. Clears counts and violations.
void Reset(const Options& options);
Violations violations();
int live_communicators();  // made, and not aborted or destroyed
int running_operations();  // launched, and not over: each would hold a stream for ever
int calls(Where where);    // so far

}  // namespace fake_nccl
