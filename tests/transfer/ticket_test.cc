#include "transfer/ticket.h"

#include <catch2/catch.hpp>

namespace lynx {
namespace {

using std::chrono::seconds;

Hello HelloFor(const IssuedTicket& issued, Stream stream) {
  return {.stream = stream,
          .ticket = issued.ticket,
          .sender_incarnation = 11,
          .receiver_incarnation = 22};
}

TEST_CASE("a ticket is good once for each stream", "[ticket]") {
  TicketRegistry registry(11, seconds(10), 4);
  IssuedTicket issued = *registry.Issue(22, seconds(0));
  CHECK(*registry.Find(issued.ticket) == issued.session);
  auto first = registry.Admit(HelloFor(issued, Stream::kResidual), seconds(1));
  CHECK(first.result == HelloResult::kAccepted);
  CHECK(first.session == issued.session);
  CHECK_FALSE(first.complete);
  CHECK(registry.Admit(HelloFor(issued, Stream::kResidual), seconds(1)).result ==
        HelloResult::kBadTicket);
  auto second = registry.Admit(HelloFor(issued, Stream::kAnchor), seconds(2));
  CHECK(second.result == HelloResult::kAccepted);
  CHECK(second.complete);
  CHECK(registry.Expire(seconds(100)).empty());  // complete: no longer bound to the lifetime
  registry.Forget(issued.session);
  CHECK_FALSE(registry.Find(issued.ticket).ok());
}

TEST_CASE("tickets expire, belong to incarnations and are limited", "[ticket]") {
  TicketRegistry registry(11, seconds(10), 2);
  IssuedTicket a = *registry.Issue(22, seconds(0));
  IssuedTicket b = *registry.Issue(22, seconds(5));
  CHECK(a.ticket != b.ticket);
  CHECK(absl::IsResourceExhausted(registry.Issue(22, seconds(5)).status()));
  CHECK(registry.Admit(HelloFor(a, Stream::kAnchor), seconds(10)).result ==
        HelloResult::kBadTicket);
  Hello other = HelloFor(b, Stream::kAnchor);
  other.sender_incarnation = 12;
  CHECK(registry.Admit(other, seconds(6)).result == HelloResult::kOtherIncarnation);
  other = HelloFor(b, Stream::kAnchor);
  other.receiver_incarnation = 23;
  CHECK(registry.Admit(other, seconds(6)).result == HelloResult::kOtherIncarnation);
  other = HelloFor(b, Stream::kAnchor);
  other.ticket[31] ^= 1;
  CHECK(registry.Admit(other, seconds(6)).result == HelloResult::kBadTicket);
  CHECK(registry.Expire(seconds(12)) == std::vector<SessionId>{a.session});
  CHECK(registry.sessions() == 1);
  CHECK(registry.Issue(22, seconds(12)).ok());
  CHECK_FALSE(registry.Issue(0, seconds(12)).ok());
}

}  // namespace
}  // namespace lynx
