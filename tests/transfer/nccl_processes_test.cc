// Both ends of the NCCL channel in processes of their own, over the NCCL that the program has: the
// real one on a GPU, the fake one emulated. Nothing here knows which.
//
// One GPU is enough: NCCL refuses two ranks on one device of one host, and NCCL_HOSTID makes each
// process a host of its own. The other end is this program again, told what to do by its
// environment; it says on a pipe how far it is.
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <cstdlib>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "tests/transfer/nccl_world.h"

namespace lynx {
namespace {

constexpr char kPort[] = "LYNX_TEST_PORT";
constexpr char kTicket[] = "LYNX_TEST_TICKET";
constexpr char kPipe[] = "LYNX_TEST_PIPE";

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

// The receiving process.
class Other {
 public:
  Other(uint16_t port, const Ticket& ticket) {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    in_.reset(ends[0]);
    UniqueFd out(ends[1]);
    ::setenv(kPort, absl::StrCat(port).c_str(), 1);
    ::setenv(
        kTicket,
        absl::BytesToHexString({reinterpret_cast<const char*>(&ticket), sizeof ticket}).c_str(), 1);
    ::setenv(kPipe, absl::StrCat(out.get()).c_str(), 1);
    std::string self = "/proc/self/exe", test = "the receiving process";
    char* arguments[] = {self.data(), test.data(), nullptr};
    REQUIRE(::posix_spawn(&pid_, self.c_str(), nullptr, nullptr, arguments, environ) == 0);
  }
  ~Other() { Kill(); }

  // What it says next; fails the test if it says nothing, or ends.
  char Hear() {
    pollfd ready{in_.get(), POLLIN, 0};
    char said = 0;
    REQUIRE(::poll(&ready, 1, 60000) == 1);
    REQUIRE(::read(in_.get(), &said, 1) == 1);
    return said;
  }
  void Kill() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(std::exchange(pid_, -1), nullptr, 0);
  }
  int AwaitEnd() {
    int status = -1;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return status;
  }

 private:
  pid_t pid_ = -1;
  UniqueFd in_;
};

NcclServerOptions ServerOptions() {
  NcclServerOptions options;
  options.nccl = Patient();
  return options;
}

// A transfer of everything to a new process, which says that it is right.
void ServeOther(Waker* waker, NcclSenderSide* s, DeviceWorld* world) {
  const IssuedTicket t = *s->server->IssueTicket(kReceiverIncarnation);
  Other other(s->server->port(), t.ticket);
  REQUIRE(other.Hear() == kGranted);
  s->Start(world->key, t.session, world->Blocks());
  REQUIRE(other.Hear() == kPublished);
  REQUIRE(other.Hear() == kComplete);
  CHECK(other.AwaitEnd() == 0);
  if (!*s->sender.End(world->key)) waker->Await([&] { return s->SawReleased(world->key); });
}

}  // namespace

// Not run by itself.
TEST_CASE("the receiving process", "[.]") {
  ::alarm(120);  // only ends a broken run
  SetNcclEnvironment("receiver");
  int port = 0, pipe = -1;
  REQUIRE(absl::SimpleAtoi(::getenv(kPort), &port));
  REQUIRE(absl::SimpleAtoi(::getenv(kPipe), &pipe));
  const std::string ticket_bytes = absl::HexStringToBytes(::getenv(kTicket));
  Ticket ticket{};
  REQUIRE(ticket_bytes.size() == sizeof ticket);
  std::copy(ticket_bytes.begin(), ticket_bytes.end(), reinterpret_cast<char*>(&ticket));
  const auto say = [&](char what) { REQUIRE(::write(pipe, &what, 1) == 1); };

  DeviceWorld world(1, kShape);
  Waker waker;
  NcclClientOptions options;
  options.nccl = Patient();
  NcclReceiverSide r(&waker, options, /*device=*/0);
  const SessionId session = r.Dial(static_cast<uint16_t>(port), ticket);
  REQUIRE(r.receiver.Grant(world.key, session, world.Ranges()).ok());
  say(kGranted);
  bool told = false;
  waker.Await([&] {
    const auto down = r.Saw(ReceiverEvent::Type::kSessionDown, session);
    if (down) FAIL("the session went down: " << down->ToString());
    const bool complete = r.TakeUntilComplete(&world);
    if (world.published() > 0 && !std::exchange(told, true)) say(kPublished);
    return complete;
  });
  world.CheckMemory();
  say(kComplete);
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
    Other other(s.server->port(), t.ticket);
    REQUIRE(other.Hear() == kGranted);
    s.Start(world.key, t.session, world.Blocks());
    REQUIRE(other.Hear() == kPublished);
    other.Kill();
    CHECK_FALSE(s.AwaitDown(&waker, t.session).ok());
    if (!*s.sender.End(world.key)) waker.Await([&] { return s.SawReleased(world.key); });
  }
  CHECK(s.server->stats().sessions_stuck == 0);
  ServeOther(&waker, &s, &world);
  CHECK(s.server->Close());
}

}  // namespace lynx
