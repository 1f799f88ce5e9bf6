// What emulated kernels and tests call of the emulator. Kernels include simt.h, which brings this.
//
// One CUDA thread is one fiber; a block's fibers run in turn on one OS thread, and switch only
// where threads may wait: barriers, collectives of a warp, Yield. So a kernel's bugs show as what
// they are on a device, but the same way each time for the same seed.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace simt {

// Where a kernel called something: SIMT_L as the last parameter takes the caller's place. (Braces
// instead of this constructor would give gcc the place of the parameter.)
struct Loc {
  constexpr Loc(const char* f = __builtin_FILE(),
                unsigned l = static_cast<unsigned>(__builtin_LINE()))
      : file(f), line(l) {}
  const char* file;
  unsigned line;
};
#define SIMT_L simt::Loc l = simt::Loc()

struct U3 {
  unsigned x, y, z;
};

// ---- for tests

struct Options {
  // Order of a grid's blocks and of a block's threads. 0: ascending.
  uint64_t seed = 0;
  // cp.async lands at the wait (true: too weak a wait shows) or at once (false: a buffer that is
  // overwritten too early shows). Tests run both.
  bool cp_defer = true;
  // OS threads that share a grid's blocks. Results do not depend on it unless they depend on the
  // order of blocks.
  int workers = 1;
};
Options& options();  // not to be changed while kernels run

// Counted since the process started.
struct Stats {
  uint64_t blocks = 0;
  uint64_t switches = 0;
  uint64_t collectives = 0;
  uint64_t ldsm = 0;            // 8x8 matrices read by ldmatrix
  uint64_t ldsm_conflicts = 0;  // rows of those that waited for a bank
  uint64_t smem = 0;            // warp-wide accesses through LoadShared and StoreShared
  uint64_t smem_conflicts = 0;  // extra turns that those took
};
Stats& stats();

// What the failed kernel did, "" if none has failed since ResetError. Sticky as on a device: until
// it is reset every synchronization returns cudaErrorLaunchFailure and no work is run.
std::string LastError();
void ResetError();

// ---- for device.cuh

bool ValidLaunch(dim3 grid, dim3 block, size_t smem);
// Makes an invalid configuration known to cudaGetLastError.
cudaError_t RejectLaunch();
// Runs the grid now; a failure is found in LastError. One grid at a time in the process.
void RunGrid(dim3 grid, dim3 block, size_t smem, void (*body)(void*), void* arg, const char* name);

// ---- for kernels, by way of the functions in warp.h, ptx.h and device.cuh. Never instrumented.

// Ends the kernel with this error.
[[noreturn]] void Fail(Loc l, const char* format, ...) __attribute__((format(printf, 2, 3)));
// Ends it for a fault of the processor. False: no kernel runs on this thread.
bool FailFromSignal(const char* what);

// Barrier `id` of the block for `threads` of its threads; 0: all that have not exited.
void BarrierSync(int id, int threads, Loc l);
void Yield(SIMT_L);
int Lane();

enum class Op : uint8_t { kSyncwarp, kShfl, kVote, kReduce, kMatch, kLdmatrix, kMmaBf16 };
enum class Reduce : uint32_t { kAdd, kMinSigned, kMaxSigned, kMin, kMax, kAnd, kOr, kXor };
// The lanes of `mask` meet; the last one computes out[lane] from all in[lane]. All must come from
// the same source line with the same `op` and `imm`.
void Collective(Op op, unsigned mask, const uint32_t* in, int in_words, uint32_t* out,
                int out_words, uint32_t imm, Loc l);
// The address that `lane` gave to the ldmatrix that this warp has just met for.
const void* LdmatrixRow(int lane);

// An array of the block's shared memory. `cursor` is the offset on a device and is advanced; here
// the arrays lie apart, with red zones between them.
void* SmemTake(size_t& cursor, size_t bytes, size_t align, Loc l);
bool InSmem(const void* p, size_t bytes);
// One lane's part of an access that a warp makes together; bank conflicts are counted over the
// lanes that come here the same number of times.
void CountSharedAccess(const void* p, size_t bytes, Loc l);

struct CpOp {
  void* dst;
  const void* src;
  int bytes;  // the rest of 16 becomes zero
};
void CpPush(CpOp op);
void CpCommit();
// The copies that a wait for all but the newest `pending` groups completes, to be made by the
// caller.
int CpWait(int pending, CpOp** ops);

}  // namespace simt

extern constinit thread_local simt::U3 threadIdx, blockIdx, blockDim, gridDim;
