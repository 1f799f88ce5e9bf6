#include "transfer/session_desk.h"

#include <algorithm>
#include <utility>

namespace lynx {

SessionDesk::SessionDesk(uint64_t incarnation, Nanos ticket_lifetime, size_t max_sessions)
    : registry_(incarnation, ticket_lifetime, max_sessions) {}

absl::StatusOr<IssuedTicket> SessionDesk::IssueTicket(uint64_t peer_incarnation, Nanos now) {
  absl::MutexLock lock(&mu_);
  ASSIGN_OR_RETURN(const IssuedTicket issued, registry_.Issue(peer_incarnation, now));
  uses_.Add(issued.session);
  return issued;
}

absl::StatusOr<SessionHold> SessionDesk::HoldSession(const Ticket& ticket) {
  absl::MutexLock lock(&mu_);
  ASSIGN_OR_RETURN(const SessionId session, registry_.Find(ticket));
  SessionHold hold = uses_.Hold(session);
  if (hold == nullptr) return absl::NotFoundError("the session is ending");
  return hold;
}

void SessionDesk::CloseSession(SessionId session) {
  absl::MutexLock lock(&mu_);
  to_close_.push_back(session);
}

DataServerStats SessionDesk::stats() const {
  absl::MutexLock lock(&mu_);
  DataServerStats stats = stats_;
  stats.sessions_pending =
      std::max<int64_t>(0, static_cast<int64_t>(registry_.sessions()) - stats.sessions_up);
  return stats;
}

TicketRegistry::Admission SessionDesk::Admit(const Hello& hello, Nanos now) {
  absl::MutexLock lock(&mu_);
  return registry_.Admit(hello, now);
}

std::vector<SessionId> SessionDesk::TakeToClose() {
  absl::MutexLock lock(&mu_);
  std::vector<SessionId> close = std::exchange(to_close_, {});
  std::erase_if(close, [this](SessionId id) {
    mu_.AssertHeld();
    return !registry_.Has(id);
  });
  std::sort(close.begin(), close.end());
  close.erase(std::unique(close.begin(), close.end()), close.end());
  return close;
}

std::vector<SessionId> SessionDesk::Expire(Nanos now) {
  absl::MutexLock lock(&mu_);
  std::vector<SessionId> expired = registry_.Expire(now);
  for (SessionId id : expired) uses_.Forget(id);
  return expired;
}

bool SessionDesk::Retire(SessionId session) {
  absl::MutexLock lock(&mu_);
  return uses_.Retire(session);
}

void SessionDesk::Forget(SessionId session) {
  absl::MutexLock lock(&mu_);
  registry_.Forget(session);
  uses_.Forget(session);
}

size_t SessionDesk::sessions() const {
  absl::MutexLock lock(&mu_);
  return registry_.sessions();
}

void SessionDesk::Count(absl::FunctionRef<void(DataServerStats& stats)> change) {
  absl::MutexLock lock(&mu_);
  change(stats_);
}

}  // namespace lynx
