// What other threads ask of a DataServer, whichever its channel, and where its I/O thread finds it:
// tickets, sessions in use, requests to close, counts.
//
// Threads: any; functions that take the I/O thread's decisions say so.
#pragma once

#include <cstddef>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "transfer/data_plane.h"

namespace lynx {

class SessionDesk {
 public:
  // As TicketRegistry.
  SessionDesk(uint64_t incarnation, Nanos ticket_lifetime, size_t max_sessions);

  // DataServer's functions of these names.
  absl::StatusOr<IssuedTicket> IssueTicket(uint64_t peer_incarnation, Nanos now);
  absl::StatusOr<SessionHold> HoldSession(const Ticket& ticket);
  void CloseSession(SessionId session);
  DataServerStats stats() const;

  // The I/O thread's from here on.
  TicketRegistry::Admission Admit(const Hello& hello, Nanos now);
  // Asked for since the last time and still there; each once, in order.
  std::vector<SessionId> TakeToClose();
  // Sessions whose connections did not come in time; they are forgotten.
  std::vector<SessionId> Expire(Nanos now);
  // It is to give way: false, and nothing happens, if it is in use; else its ticket is unknown.
  bool Retire(SessionId session);
  void Forget(SessionId session);
  size_t sessions() const;
  void Count(absl::FunctionRef<void(DataServerStats& stats)> change);

 private:
  mutable absl::Mutex mu_;
  TicketRegistry registry_ ABSL_GUARDED_BY(mu_);
  SessionUses uses_ ABSL_GUARDED_BY(mu_);
  std::vector<SessionId> to_close_ ABSL_GUARDED_BY(mu_);
  DataServerStats stats_ ABSL_GUARDED_BY(mu_);
};

}  // namespace lynx
