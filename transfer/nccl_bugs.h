// Mistakes that a test compiles into the channel, to see that each would be found. Without
// LYNX_NCCL_BUGS there are none.
#pragma once

#include <atomic>
#include <cstdint>

namespace lynx {

enum class NcclBug : uint8_t {
  kNone,
  kSendBeforeCredit,  // the sender does not wait for the receiver
  kSwappedOrder,      // the receiver posts an operation ahead of an older one of the other stream
  kEarlySafe,         // memory is told safe while the recv still runs
  kLostAbort,         // a failed session's communicators are forgotten
  kWrongPieces,       // one side cuts pieces by its own memory alone
  kAbortAlone,        // one communicator is aborted before the other is revoked
};

#ifdef LYNX_NCCL_BUGS
inline std::atomic<NcclBug> injected_nccl_bug{NcclBug::kNone};
inline bool HasBug(NcclBug bug) { return injected_nccl_bug == bug; }
#else
constexpr bool HasBug(NcclBug) { return false; }
#endif

}  // namespace lynx
