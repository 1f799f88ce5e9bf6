#include "transfer/session_desk.h"

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

TEST_CASE("a session that is held does not give way, and one that gave way is not found",
          "[desk]") {
  SessionDesk desk(11, seconds(10), 4);
  const IssuedTicket issued = *desk.IssueTicket(22, seconds(0));
  {
    const absl::StatusOr<SessionHold> hold = desk.HoldSession(issued.ticket);
    REQUIRE(hold.ok());
    CHECK(**hold == issued.session);
    const SessionHold second = *desk.HoldSession(issued.ticket);
    CHECK_FALSE(desk.Retire(issued.session));
  }
  CHECK(desk.Retire(issued.session));
  CHECK(absl::IsNotFound(desk.HoldSession(issued.ticket).status()));
  CHECK(desk.sessions() == 1);  // until its end is told
  desk.Forget(issued.session);
  CHECK(desk.sessions() == 0);
}

TEST_CASE("a hold outlives the desk", "[desk]") {
  SessionHold hold;
  SessionId session{};
  {
    SessionDesk desk(11, seconds(10), 4);
    const IssuedTicket issued = *desk.IssueTicket(22, seconds(0));
    session = issued.session;
    hold = *desk.HoldSession(issued.ticket);
  }
  CHECK(*hold == session);
}

TEST_CASE("requests to close are told once, in order, and only of sessions that exist", "[desk]") {
  SessionDesk desk(11, seconds(10), 4);
  const SessionId first = desk.IssueTicket(22, seconds(0))->session;
  const SessionId second = desk.IssueTicket(22, seconds(0))->session;
  for (SessionId id : {second, first, second, SessionId{99}}) desk.CloseSession(id);
  CHECK(desk.TakeToClose() == std::vector{first, second});
  CHECK(desk.TakeToClose().empty());
}

TEST_CASE("tickets are limited, admitted for both streams, and expire", "[desk]") {
  SessionDesk desk(11, seconds(10), 2);
  const IssuedTicket used = *desk.IssueTicket(22, seconds(0));
  const IssuedTicket unused = *desk.IssueTicket(22, seconds(0));
  CHECK(absl::IsResourceExhausted(desk.IssueTicket(22, seconds(0)).status()));
  CHECK_FALSE(desk.Admit(HelloFor(used, Stream::kAnchor), seconds(1)).complete);
  CHECK(desk.stats().sessions_pending == 2);
  CHECK(desk.Admit(HelloFor(used, Stream::kResidual), seconds(1)).complete);
  desk.Count([](DataServerStats& stats) { stats.sessions_up = 1; });
  CHECK(desk.stats().sessions_pending == 1);
  CHECK(desk.Expire(seconds(11)) == std::vector{unused.session});
  CHECK(absl::IsNotFound(desk.HoldSession(unused.ticket).status()));
  CHECK(desk.HoldSession(used.ticket).ok());
}

}  // namespace
}  // namespace lynx
