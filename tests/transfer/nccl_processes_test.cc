// Both ends of the NCCL channel in processes of their own, over the NCCL that the program has: the
// real one on a GPU, the fake one emulated. Nothing here knows which.
//
// One GPU is enough: NCCL refuses two ranks on one device of one host, and NCCL_HOSTID makes each
// process a host of its own. The other end says how far it is.
#include <catch2/catch.hpp>
#include <cstdlib>

#include "tests/transfer/nccl_world.h"
#include "tests/transfer/peer_process.h"

namespace lynx {
namespace {

constexpr char kReceivingProcess[] = "the receiving process";

// What it says.
constexpr char kGranted = 'g';
constexpr char kPublished = 'p';  // some block is in
constexpr char kComplete = 'c';   // all are, and are right

const WorldShape kShape{.layers = 4, .pages = 24, .anchor_bytes = 20000, .residual_bytes = 12000};

// What two ranks on one machine need of the real NCCL.
void SetNcclEnvironment(const char* host) {
  ::setenv("NCCL_HOSTID", host, 1);
  ::setenv("NCCL_NET", "Socket", 1);
  ::setenv("NCCL_SOCKET_IFNAME", "lo", 1);
  ::setenv("NCCL_LAUNCH_ORDER_IMPLICIT", "1", 1);
  for (const char* name : {"NCCL_IB_DISABLE", "NCCL_P2P_DISABLE", "NCCL_SHM_DISABLE"}) {
    ::setenv(name, "1", 1);
  }
  ::setenv("NCCL_MNNVL_ENABLE", "0", 1);
}

NcclOptions Patient() {
  NcclOptions options;
  options.operation_timeout = std::chrono::seconds(30);
  return options;
}

NcclServerOptions ServerOptions() {
  NcclServerOptions options;
  options.nccl = Patient();
  return options;
}

// A transfer of everything to a new process, which says that it is right.
void ServeOther(Waker* waker, NcclSenderSide* s, DeviceWorld* world) {
  const IssuedTicket t = *s->server->IssueTicket(kReceiverIncarnation);
  PeerProcess other(kReceivingProcess);
  other.link().Tell(Meeting{s->server->port(), t.ticket});
  REQUIRE(other.link().Hear<char>() == kGranted);
  s->Start(world->key, t.session, world->Blocks());
  REQUIRE(other.link().Hear<char>() == kPublished);
  REQUIRE(other.link().Hear<char>() == kComplete);
  CHECK(other.AwaitEnd() == 0);
  if (!*s->sender.End(world->key)) waker->Await([&] { return s->SawReleased(world->key); });
}

}  // namespace

// Not run by itself.
TEST_CASE(kReceivingProcess, "[.]") {
  const PeerLink parent = PeerProcess::ToParent();
  SetNcclEnvironment("receiver");
  const auto meeting = parent.Hear<Meeting>();

  DeviceWorld world(1, kShape);
  Waker waker;
  NcclClientOptions options;
  options.nccl = Patient();
  NcclReceiverSide r(&waker, options, /*device=*/0);
  const SessionId session = r.Dial(meeting.port, meeting.ticket);
  REQUIRE(r.receiver.Grant(world.key, session, world.Ranges()).ok());
  parent.Tell(kGranted);
  bool told = false;
  waker.Await([&] {
    const auto down = r.Saw(ReceiverEvent::Type::kSessionDown, session);
    if (down) FAIL("the session went down: " << down->ToString());
    const bool complete = r.TakeUntilComplete(&world);
    if (world.published() > 0 && !std::exchange(told, true)) parent.Tell(kPublished);
    return complete;
  });
  world.CheckMemory();
  parent.Tell(kComplete);
  CHECK(r.client->Close());
}

TEST_CASE("blocks arrive in the device memory of another process", "[nccl]") {
  SetNcclEnvironment("sender");
  DeviceWorld world(1, kShape);
  Waker waker;
  NcclSenderSide s(&waker, ServerOptions());
  for (int round = 0; round < 2; ++round) ServeOther(&waker, &s, &world);
  CHECK(s.server->stats().sessions_stuck == 0);
  CHECK(s.server->Close());
}

TEST_CASE("a receiving process that dies in the middle costs its session only", "[nccl]") {
  SetNcclEnvironment("sender");
  DeviceWorld world(1, kShape);
  Waker waker;
  SendQueueOptions slow;  // a second, of which the death is in the middle
  slow.rate_limit_bytes_per_s = 3'000'000;
  slow.min_frame_bytes = slow.max_frame_bytes = 64 << 10;
  NcclSenderSide s(&waker, ServerOptions(), slow);
  {
    const IssuedTicket t = *s.server->IssueTicket(kReceiverIncarnation);
    PeerProcess other(kReceivingProcess);
    other.link().Tell(Meeting{s.server->port(), t.ticket});
    REQUIRE(other.link().Hear<char>() == kGranted);
    s.Start(world.key, t.session, world.Blocks());
    REQUIRE(other.link().Hear<char>() == kPublished);
    other.Kill();
    CHECK_FALSE(s.AwaitDown(&waker, t.session).ok());
    if (!*s.sender.End(world.key)) waker.Await([&] { return s.SawReleased(world.key); });
  }
  CHECK(s.server->stats().sessions_stuck == 0);
  ServeOther(&waker, &s, &world);
  CHECK(s.server->Close());
}

}  // namespace lynx
