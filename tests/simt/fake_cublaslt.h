// cuBLASLt as tests see it: the functions of cublasLt.h that the project calls, defined here
// instead of in the library. Operands and descriptions are checked more strictly than by the
// library.
//
// Its algorithms, best first; each has one order of summation, all of them different:
//   1  splits k (with a reduction); suggested only where the preferences allow that
//   2  needs kWorkspaceBytes
//   3  and 4 need nothing
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

namespace simt::fake_cublaslt {

inline constexpr size_t kWorkspaceBytes = size_t{1} << 20;  // of algorithm 2

// What is wrong with an algorithm.
enum class Fault {
  kNone,
  kOrderFollowsRows,   // another order of summation for more than 64 rows
  kOrderFollowsPlace,  // another order in the last tile of 64 rows, if that is not full
  kRefusesFewRows      // NOT_SUPPORTED for fewer than 16 rows
};

struct Options {
  std::map<int32_t, Fault> faults;   // by algorithm
  bool ignores_preferences = false;  // suggests what the preferences exclude
  bool fails_to_start = false;       // cublasLtCreate gives NOT_INITIALIZED
};
Options& options();  // not to be changed while products are made

// Products queued by each algorithm since the process started.
std::map<int32_t, int64_t>& products();

}  // namespace simt::fake_cublaslt
