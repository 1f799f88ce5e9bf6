// NCCL's functions as they were found at run time: programs with the NCCL channel start without
// NCCL, and use TCP there.
#pragma once

#include <nccl.h>

#include <cstdint>
#include <string>

#include "runtime/status.h"

namespace lynx {

struct NcclApi {
  decltype(&::ncclGetVersion) GetVersion;
  decltype(&::ncclGetErrorString) GetErrorString;
  decltype(&::ncclGetLastError) GetLastError;
  decltype(&::ncclGetUniqueId) GetUniqueId;
  decltype(&::ncclCommInitRankConfig) CommInitRankConfig;
  decltype(&::ncclCommGetAsyncError) CommGetAsyncError;
  decltype(&::ncclCommRevoke) CommRevoke;
  decltype(&::ncclCommAbort) CommAbort;
  decltype(&::ncclGroupStart) GroupStart;
  decltype(&::ncclGroupEnd) GroupEnd;
  decltype(&::ncclSend) Send;
  decltype(&::ncclRecv) Recv;
  uint32_t version;  // of the library
};

inline constexpr char kNcclLibrary[] = "libnccl.so.2";

// Loads a library, which stays. FAILED_PRECONDITION says what is wrong and what to do: not found,
// not NCCL, or older than the header that this was compiled against.
absl::StatusOr<NcclApi> OpenNccl(const std::string& library);

// The process' NCCL: loaded on the first call (or linked: LYNX_NCCL_LINKED), by whichever thread;
// later calls have the same answer.
absl::StatusOr<const NcclApi*> LoadNccl();

// After LoadNccl has succeeded.
const NcclApi& Nccl();

std::string NcclVersionName(uint32_t version);  // "2.28.9"

}  // namespace lynx
