// The other end is a process of its own that dies, stops, fails or hangs at a chosen call; this end
// gets an event, gives its memory back, and joins the next one.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <initializer_list>
#include <vector>

#include "fake_cuda.h"
#include "fake_nccl.h"
#include "tests/transfer/nccl_world.h"
#include "tests/transfer/peer_process.h"

namespace lynx {
namespace {

using fake_nccl::Fate;
using fake_nccl::Where;

const WorldShape kShape{
    .layers = 2, .pages = 6, .anchor_bytes = 3000, .residual_bytes = 2000, .tail_room = 0};

constexpr char kFaultyReceiver[] = "the receiver with a fault";
constexpr char kFaultySender[] = "the sender with a fault";

void StayUntilKilled() {
  while (true) ::pause();
}

void CheckQuiet() {
  CHECK(fake_nccl::violations().total() == 0);
  CHECK(fake_nccl::live_communicators() == 0);
  CHECK(fake_nccl::running_operations() == 0);
}

struct Point {
  Where where;
  int at;
};

// Every fate at every point. Under sanitizers, which take several times as long, each fate and each
// point: what they watch, threads and memory, depends on the two apart.
std::vector<fake_nccl::Options> Faults(std::initializer_list<Point> points) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr bool kAll = false;
#else
  constexpr bool kAll = true;
#endif
  constexpr Fate kFates[] = {Fate::kDie, Fate::kStop, Fate::kFail};
  std::vector<fake_nccl::Options> faults;
  for (size_t p = 0; p < points.size(); ++p) {
    for (size_t f = 0; f < std::size(kFates); ++f) {
      if (!kAll && f != p % std::size(kFates)) continue;
      const Point point = points.begin()[p];
      faults.push_back(
          {.fate = kFates[f], .where = point.where, .at = point.at, .step_bytes = 500});
    }
  }
  return faults;
}

TEST_CASE("a receiver that fails at any point costs its session only", "[nccl]") {
  // Initialisation of both, both warm-ups, announced and not posted, in mid-operation.
  const auto fault = GENERATE(from_range(Faults({{Where::kInit, 0},
                                                 {Where::kInit, 1},
                                                 {Where::kRecv, 0},
                                                 {Where::kRecv, 1},
                                                 {Where::kRecv, 4},
                                                 {Where::kRecvHalf, 5}})));
  CAPTURE(static_cast<int>(fault.fate), static_cast<int>(fault.where), fault.at);
  PeerProcess bad(kFaultyReceiver);
  bad.link().Tell(fault);
  fake_nccl::Reset({.step_bytes = 500});
  DeviceWorld world(1, kShape);
  Waker waker;
  {
    NcclServerOptions options;
    options.nccl = ShortDeadlines();
    NcclSenderSide s(&waker, options);
    const IssuedTicket t = *s.server->IssueTicket(kReceiverIncarnation);
    s.Start(world.key, t.session, world.Blocks());
    bad.link().Tell(Meeting{s.server->port(), t.ticket});
    const absl::Status why = s.AwaitDown(&waker, t.session);
    CHECK_FALSE(why.ok());
    CHECK(s.server->stats().sessions_stuck == 0);
    // The memory is free, and the server takes the next receiver.
    REQUIRE(*s.sender.End(world.key));
    NcclReceiverSide good(&waker);
    DeviceWorld next(2, kShape);
    const JoinedSession joined = Join(&waker, &s, &good);
    REQUIRE(good.receiver.Grant(next.key, joined.at_receiver, next.Ranges()).ok());
    s.Start(next.key, joined.at_sender, next.Blocks());
    waker.Await([&] {
      const auto down = good.Saw(ReceiverEvent::Type::kSessionDown, joined.at_receiver);
      if (down) FAIL("the good session went down: " << down->ToString());
      return good.TakeUntilComplete(&next);
    });
    next.CheckMemory();
    if (!*s.sender.End(next.key)) waker.Await([&] { return s.SawReleased(next.key); });
  }
  CheckQuiet();
}

TEST_CASE("a sender that fails at any point leaves the memory safe", "[nccl]") {
  const auto fault = GENERATE(from_range(
      Faults({{Where::kInit, 1}, {Where::kSend, 0}, {Where::kSend, 3}, {Where::kSendHalf, 4}})));
  CAPTURE(static_cast<int>(fault.fate), static_cast<int>(fault.where), fault.at);
  PeerProcess bad(kFaultySender);
  bad.link().Tell(fault);
  fake_nccl::Reset({.step_bytes = 500});
  DeviceWorld world(1, kShape);
  Waker waker;
  {
    NcclClientOptions options;
    options.nccl = ShortDeadlines();
    NcclReceiverSide r(&waker, options);
    const auto meeting = bad.link().Hear<Meeting>();
    const SessionId d = r.Dial(meeting.port, meeting.ticket);
    REQUIRE(r.receiver.Grant(world.key, d, world.Ranges()).ok());
    CHECK_FALSE(r.AwaitDown(&waker, d).ok());
    CHECK(r.client->stats().sessions_stuck == 0);
    r.TakeUntilComplete(&world);
    world.CheckMemory();  // what was published is whole
    REQUIRE(*r.receiver.Revoke(world.key));
    world.Scribble(std::byte{9});
  }
  CHECK(world.AllIs(std::byte{9}));
  CheckQuiet();
}

}  // namespace

// The bad peers' parts, in processes of their own: not run by themselves.
TEST_CASE(kFaultyReceiver, "[.]") {
  const PeerLink parent = PeerProcess::ToParent();
  fake_nccl::Reset(parent.Hear<fake_nccl::Options>());
  const auto meeting = parent.Hear<Meeting>();
  DeviceWorld world(1, kShape);
  Waker waker;
  NcclClientOptions options;
  options.nccl = ShortDeadlines();
  NcclReceiverSide r(&waker, options);
  const SessionId d = r.Dial(meeting.port, meeting.ticket);
  REQUIRE(r.receiver.Grant(world.key, d, world.Ranges()).ok());
  StayUntilKilled();
}

TEST_CASE(kFaultySender, "[.]") {
  const PeerLink parent = PeerProcess::ToParent();
  fake_nccl::Reset(parent.Hear<fake_nccl::Options>());
  DeviceWorld world(1, kShape);
  Waker waker;
  NcclServerOptions options;
  options.nccl = ShortDeadlines();
  NcclSenderSide s(&waker, options);
  const IssuedTicket t = *s.server->IssueTicket(kReceiverIncarnation);
  s.Start(world.key, t.session, world.Blocks());
  parent.Tell(Meeting{s.server->port(), t.ticket});
  StayUntilKilled();
}

}  // namespace lynx
