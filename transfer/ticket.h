// Tickets: what a data connection must present. The control plane hands them out at a join.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "runtime/clock.h"
#include "runtime/status.h"
#include "transfer/block.h"
#include "transfer/frame.h"

namespace lynx {

struct IssuedTicket {
  Ticket ticket{};
  SessionId session{};
};

// The sending server's registry. Not thread-safe.
class TicketRegistry {
 public:
  // `incarnation`: this server's, random for each start of the process, not 0.
  TicketRegistry(uint64_t incarnation, Nanos lifetime, size_t max_sessions);

  // A new session for the peer that called Join. RESOURCE_EXHAUSTED: max_sessions exist already.
  absl::StatusOr<IssuedTicket> Issue(uint64_t peer_incarnation, Nanos now);
  // The session that a ticket belongs to, connected or not. NOT_FOUND.
  absl::StatusOr<SessionId> Find(const Ticket& ticket) const;

  struct Admission {
    HelloResult result = HelloResult::kBadTicket;
    SessionId session{};    // if accepted
    bool complete = false;  // both streams have presented the ticket
  };
  // Each ticket is good once for each stream, until it expires.
  Admission Admit(const Hello& hello, Nanos now);

  void Forget(SessionId session);
  // Sessions whose streams did not both come in time; they are forgotten.
  std::vector<SessionId> Expire(Nanos now);
  bool Has(SessionId session) const { return entries_.contains(session); }
  size_t sessions() const { return entries_.size(); }

 private:
  struct Entry {
    Ticket ticket{};
    uint64_t peer_incarnation = 0;
    Nanos expires_at{0};
    bool used[kStreams] = {false, false};
  };

  const uint64_t incarnation_;
  const Nanos lifetime_;
  const size_t max_sessions_;
  uint64_t next_session_ = 1;
  absl::flat_hash_map<Ticket, SessionId> by_ticket_;
  absl::flat_hash_map<SessionId, Entry> entries_;
};

// Random, never 0: for a process' incarnation.
uint64_t RandomIncarnation();

}  // namespace lynx
