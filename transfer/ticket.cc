#include "transfer/ticket.h"

#include <openssl/rand.h>

namespace lynx {
namespace {

// Tickets are secrets: only the system's generator will do, and without it there is no going on.
void FillRandom(void* data, size_t bytes) {
  LYNX_CHECK(RAND_bytes(static_cast<unsigned char*>(data), static_cast<int>(bytes)) == 1);
}

}  // namespace

uint64_t RandomIncarnation() {
  uint64_t value = 0;
  while (value == 0) FillRandom(&value, sizeof(value));
  return value;
}

TicketRegistry::TicketRegistry(uint64_t incarnation, Nanos lifetime, size_t max_sessions)
    : incarnation_(incarnation), lifetime_(lifetime), max_sessions_(max_sessions) {}

absl::StatusOr<IssuedTicket> TicketRegistry::Issue(uint64_t peer_incarnation, Nanos now) {
  if (peer_incarnation == 0) return absl::InvalidArgumentError("incarnation 0 is not valid");
  if (entries_.size() >= max_sessions_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("all ", max_sessions_, " data-plane sessions are taken"));
  }
  IssuedTicket issued;
  FillRandom(issued.ticket.data(), issued.ticket.size());
  issued.session = SessionId{next_session_++};
  entries_[issued.session] = {
      .ticket = issued.ticket, .peer_incarnation = peer_incarnation, .expires_at = now + lifetime_};
  by_ticket_[issued.ticket] = issued.session;
  return issued;
}

absl::StatusOr<SessionId> TicketRegistry::Find(const Ticket& ticket) const {
  auto it = by_ticket_.find(ticket);
  if (it == by_ticket_.end()) return absl::NotFoundError("no data-plane session has this ticket");
  return it->second;
}

// The lookup goes through a salted hash of 256 random bits: its timing tells a stranger nothing of
// use.
TicketRegistry::Admission TicketRegistry::Admit(const Hello& hello, Nanos now) {
  if (hello.sender_incarnation != incarnation_) return {HelloResult::kOtherIncarnation};
  auto it = by_ticket_.find(hello.ticket);
  if (it == by_ticket_.end()) return {HelloResult::kBadTicket};
  Entry& entry = entries_.at(it->second);
  if (hello.receiver_incarnation != entry.peer_incarnation) return {HelloResult::kOtherIncarnation};
  bool& used = entry.used[static_cast<int>(hello.stream)];
  if (used || now >= entry.expires_at) return {HelloResult::kBadTicket};
  used = true;
  return {HelloResult::kAccepted, it->second, entry.used[0] && entry.used[1]};
}

void TicketRegistry::Forget(SessionId session) {
  auto it = entries_.find(session);
  if (it == entries_.end()) return;
  by_ticket_.erase(it->second.ticket);
  entries_.erase(it);
}

std::vector<SessionId> TicketRegistry::Expire(Nanos now) {
  std::vector<SessionId> expired;
  for (const auto& [session, entry] : entries_) {
    bool complete = entry.used[0] && entry.used[1];
    if (!complete && now >= entry.expires_at) expired.push_back(session);
  }
  for (SessionId session : expired) Forget(session);
  return expired;
}

}  // namespace lynx
