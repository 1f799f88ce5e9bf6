// The other end is a process of its own that dies, stops, fails or hangs at a chosen call; this end
// gets an event, gives its memory back, and joins the next one.
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>

#include "fake_cuda.h"
#include "fake_nccl.h"
#include "tests/transfer/nccl_world.h"

namespace lynx {
namespace {

using fake_nccl::Fate;
using fake_nccl::Where;

const WorldShape kShape{
    .layers = 2, .pages = 6, .anchor_bytes = 3000, .residual_bytes = 2000, .tail_room = 0};

// What the parent tells the child, or the child the parent.
struct Meeting {
  uint16_t port = 0;
  Ticket ticket{};
};

// A child process with a pipe in each direction. Made while no other thread runs.
class Child {
 public:
  // `body` gets its two descriptors; the child ends with it.
  explicit Child(const std::function<void(int in, int out)>& body) {
    int down[2], up[2];
    REQUIRE(::pipe(down) == 0);
    REQUIRE(::pipe(up) == 0);
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      ::close(down[1]);
      ::close(up[0]);
      ::alarm(60);  // only ends a broken run
      body(down[0], up[1]);
      ::_exit(0);
    }
    ::close(down[0]);
    ::close(up[1]);
    in_.reset(up[0]);
    out_.reset(down[1]);
  }
  ~Child() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  void Tell(const Meeting& meeting) {
    REQUIRE(::write(out_.get(), &meeting, sizeof(meeting)) == sizeof(meeting));
  }
  Meeting Hear() {
    Meeting meeting;
    pollfd ready{in_.get(), POLLIN, 0};
    REQUIRE(::poll(&ready, 1, 20000) == 1);
    REQUIRE(::read(in_.get(), &meeting, sizeof(meeting)) == sizeof(meeting));
    return meeting;
  }

 private:
  pid_t pid_ = -1;
  UniqueFd in_, out_;
};

void StayUntilKilled() {
  while (true) ::pause();
}

void PlayReceiver(int in, const fake_nccl::Options& fault) {
  Meeting meeting;
  if (::read(in, &meeting, sizeof(meeting)) != sizeof(meeting)) return;
  fake_nccl::Reset(fault);
  DeviceWorld world(1, kShape);
  Waker waker;
  NcclClientOptions options;
  options.nccl = ShortDeadlines();
  NcclReceiverSide r(&waker, options);
  const SessionId d = r.Dial(meeting.port, meeting.ticket);
  if (!r.receiver.Grant(world.key, d, world.Ranges()).ok()) return;
  StayUntilKilled();
}

void PlaySender(int out, const fake_nccl::Options& fault) {
  fake_nccl::Reset(fault);
  DeviceWorld world(1, kShape);
  Waker waker;
  NcclServerOptions options;
  options.nccl = ShortDeadlines();
  NcclSenderSide s(&waker, options);
  const IssuedTicket t = *s.server->IssueTicket(kReceiverIncarnation);
  s.Start(world.key, t.session, world.Blocks());
  const Meeting meeting{s.server->port(), t.ticket};
  if (::write(out, &meeting, sizeof(meeting)) != sizeof(meeting)) return;
  StayUntilKilled();
}

void CheckQuiet() {
  CHECK(fake_nccl::violations().total() == 0);
  CHECK(fake_nccl::live_communicators() == 0);
  CHECK(fake_nccl::running_operations() == 0);
}

struct Fault {
  Where where;
  int at;
};

TEST_CASE("a receiver that fails at any point costs its session only", "[nccl]") {
  const Fate fate = GENERATE(Fate::kDie, Fate::kStop, Fate::kFail);
  // Initialisation of both, both warm-ups, announced and not posted, in mid-operation.
  const Fault fault =
      GENERATE(Fault{Where::kInit, 0}, Fault{Where::kInit, 1}, Fault{Where::kRecv, 0},
               Fault{Where::kRecv, 1}, Fault{Where::kRecv, 4}, Fault{Where::kRecvHalf, 5});
  CAPTURE(static_cast<int>(fate), static_cast<int>(fault.where), fault.at);
  const fake_nccl::Options faulty{
      .fate = fate, .where = fault.where, .at = fault.at, .step_bytes = 500};
  Child bad([&](int in, int) { PlayReceiver(in, faulty); });
  fake_nccl::Reset({.step_bytes = 500});
  DeviceWorld world(1, kShape);
  Waker waker;
  {
    NcclServerOptions options;
    options.nccl = ShortDeadlines();
    NcclSenderSide s(&waker, options);
    const IssuedTicket t = *s.server->IssueTicket(kReceiverIncarnation);
    s.Start(world.key, t.session, world.Blocks());
    bad.Tell({s.server->port(), t.ticket});
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
  const Fate fate = GENERATE(Fate::kDie, Fate::kStop, Fate::kFail);
  const Fault fault = GENERATE(Fault{Where::kInit, 1}, Fault{Where::kSend, 0},
                               Fault{Where::kSend, 3}, Fault{Where::kSendHalf, 4});
  CAPTURE(static_cast<int>(fate), static_cast<int>(fault.where), fault.at);
  const fake_nccl::Options faulty{
      .fate = fate, .where = fault.where, .at = fault.at, .step_bytes = 500};
  Child bad([&](int, int out) { PlaySender(out, faulty); });
  fake_nccl::Reset({.step_bytes = 500});
  DeviceWorld world(1, kShape);
  Waker waker;
  {
    NcclClientOptions options;
    options.nccl = ShortDeadlines();
    NcclReceiverSide r(&waker, options);
    const Meeting meeting = bad.Hear();
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
}  // namespace lynx
