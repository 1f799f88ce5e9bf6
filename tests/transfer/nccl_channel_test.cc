// Two honest ends over the fake NCCL, which finds what a device would forgive by luck.
#include <nccl.h>

#include <catch2/catch.hpp>

#include "fake_cuda.h"
#include "fake_nccl.h"
#include "tests/transfer/nccl_world.h"
#include "transfer/nccl_link.h"

namespace lynx {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

void CheckQuiet() {
  CHECK(fake_nccl::violations().total() == 0);
  CHECK(fake_nccl::live_communicators() == 0);
  CHECK(fake_nccl::running_operations() == 0);
}

SendQueueOptions Frames(uint64_t bytes) {
  SendQueueOptions options;
  options.min_frame_bytes = options.max_frame_bytes = bytes;
  return options;
}

TEST_CASE("blocks of all kinds arrive in device memory", "[nccl]") {
  const uint64_t seed = GENERATE(0, 1, 2, 3);
  const Layout source = seed % 2 == 0 ? Layout::kDense : Layout::kApart;
  const Layout target = seed / 2 % 2 == 0 ? Layout::kDense : Layout::kApart;
  fake_nccl::Reset({.seed = seed, .step_bytes = 3000});
  WorldShape shape{.layers = 2, .pages = 3, .anchor_bytes = 1500, .residual_bytes = 900};
  DeviceWorld a(1, shape, source, target), b(2, shape, target, source), c(3, shape);
  Waker waker;
  {
    NcclSenderSide s(&waker, {}, Frames(16 << 10));
    NcclReceiverSide r1(&waker), r2(&waker);
    const IssuedTicket t1 = *s.server->IssueTicket(kReceiverIncarnation);
    const SessionId d1 = r1.Dial(s.server->port(), t1.ticket);
    // Before the sessions are up: nothing depends on the order.
    REQUIRE(r1.receiver.Grant(a.key, d1, a.Ranges()).ok());
    s.Start(a.key, t1.session, a.Blocks());
    const JoinedSession second = Join(&waker, &s, &r2);
    REQUIRE(r2.receiver.Grant(b.key, second.at_receiver, b.Ranges()).ok());
    REQUIRE(r1.receiver.Grant(c.key, d1, c.Ranges()).ok());
    s.Start(b.key, second.at_sender, b.Blocks());
    s.Start(c.key, t1.session, c.Blocks());
    waker.Await([&] {
      for (const Completion& done : r1.receiver.PollCompleted()) {
        (done.transfer == a.key ? a : c).Take(done);
      }
      r2.TakeUntilComplete(&b);
      for (const auto& down : {r1.Saw(ReceiverEvent::Type::kSessionDown, d1),
                               r2.Saw(ReceiverEvent::Type::kSessionDown, second.at_receiver)}) {
        if (down) FAIL(down->ToString());
      }
      return a.complete() && b.complete() && c.complete();
    });
    for (DeviceWorld* world : {&a, &b, &c}) {
      world->CheckMemory();
      if (!*s.sender.End(world->key)) waker.Await([&] { return s.SawReleased(world->key); });
    }
    CHECK(s.sender.stats().blocks_resent == 0);
    CHECK(r1.receiver.stats().duplicate_blocks == 0);
    CHECK(s.server->HoldSession(t1.ticket).ok());
  }
  CheckQuiet();
}

TEST_CASE("blocks that lie together at both ends are one operation", "[nccl]") {
  fake_nccl::Reset({});
  WorldShape shape{
      .layers = 1, .pages = 16, .anchor_bytes = 256, .residual_bytes = 256, .tail_room = 0};
  DeviceWorld dense(1, shape, Layout::kDense, Layout::kDense);
  DeviceWorld apart(2, shape, Layout::kDense, Layout::kApart);
  Waker waker;
  NcclSenderSide s(&waker, {}, Frames(16 << 10));
  NcclReceiverSide r(&waker);
  const JoinedSession joined = Join(&waker, &s, &r);
  int before = fake_nccl::calls(fake_nccl::Where::kRecv);
  CHECK(before == 2);  // the warm-ups
  for (auto [world, calls] : {std::pair(&dense, 3), std::pair(&apart, 33)}) {
    REQUIRE(r.receiver.Grant(world->key, joined.at_receiver, world->Ranges()).ok());
    s.Start(world->key, joined.at_sender, world->Blocks());
    waker.Await([&, w = world] { return r.TakeUntilComplete(w); });
    world->CheckMemory();
    CHECK(fake_nccl::calls(fake_nccl::Where::kRecv) == before + calls);
    CHECK(fake_nccl::calls(fake_nccl::Where::kSend) == before + calls);
    before += calls;
  }
}

TEST_CASE("a frame of many pieces is several groups", "[nccl]") {
  fake_nccl::Reset({});
  DeviceWorld world(
      1, {.layers = 1, .pages = 150, .anchor_bytes = 40, .residual_bytes = 24, .tail_room = 0});
  Waker waker;
  NcclSenderSide s(&waker, {}, Frames(1 << 20));
  NcclReceiverSide r(&waker);
  const JoinedSession joined = Join(&waker, &s, &r);
  REQUIRE(r.receiver.Grant(world.key, joined.at_receiver, world.Ranges()).ok());
  s.Start(world.key, joined.at_sender, world.Blocks());
  waker.Await([&] { return r.TakeUntilComplete(&world); });
  world.CheckMemory();
  CHECK(fake_nccl::calls(fake_nccl::Where::kRecv) == 2 + 150 + 150 + 1);
  CHECK(fake_nccl::violations().total() == 0);
}

TEST_CASE("Residuals wait for Anchors", "[nccl]") {
  fake_nccl::Reset({.seed = 7, .step_bytes = 2000});
  WorldShape shape{
      .layers = 4, .pages = 8, .anchor_bytes = 4000, .residual_bytes = 3000, .tail_room = 0};
  DeviceWorld old(1, shape), young(2, shape);
  Waker waker;
  SendQueueOptions queue = Frames(8000);  // two pages a frame
  queue.residual_max_wait = seconds(3600);
  NcclServerOptions patient;  // however slow this machine is
  patient.stalled_after = seconds(3600);
  NcclSenderSide s(&waker, patient, queue);
  NcclReceiverSide r(&waker);
  const JoinedSession joined = Join(&waker, &s, &r);
  for (DeviceWorld* world : {&old, &young}) {
    REQUIRE(r.receiver.Grant(world->key, joined.at_receiver, world->Ranges()).ok());
    REQUIRE(s.sender.Begin(world->key, joined.at_sender).ok());
    REQUIRE(s.sender.Offer(world->key, world->Blocks()).ok());
  }
  REQUIRE(s.sender.Granted(young.key).ok());
  REQUIRE(s.sender.Granted(old.key).ok());
  std::vector<BlockClass> order;
  waker.Await([&] {
    for (const Completion& done : r.receiver.PollCompleted()) {
      (done.transfer == old.key ? old : young).Take(done);
      order.push_back(ClassOf(done.kind));
    }
    return old.complete() && young.complete();
  });
  // When the first Residual is in, only Anchors that had been announced before it are not.
  const auto first = std::find(order.begin(), order.end(), BlockClass::kResidual);
  CHECK(std::count(first, order.end(), BlockClass::kAnchor) <= 2);
  CHECK(fake_nccl::violations().total() == 0);
}

TEST_CASE("frames that nobody wants are drained, and the session lives", "[nccl]") {
  fake_nccl::Reset({.seed = 3});
  DeviceWorld old(1, {}, Layout::kDense, Layout::kDense, 1);
  DeviceWorld current(1, {}, Layout::kDense, Layout::kDense, 2), other(2, {});
  Waker waker;
  NcclSenderSide s(&waker);
  NcclReceiverSide r(&waker);
  const JoinedSession joined = Join(&waker, &s, &r);
  REQUIRE(r.receiver.Grant(current.key, joined.at_receiver, current.Ranges()).ok());
  s.Start(old.key, joined.at_sender, old.Blocks());
  waker.Await([&] { return r.receiver.stats().old_epoch_frames >= 3; });
  REQUIRE(r.receiver.Grant(other.key, joined.at_receiver, other.Ranges()).ok());
  s.Start(other.key, joined.at_sender, other.Blocks());
  waker.Await([&] { return r.TakeUntilComplete(&other); });
  CHECK(r.receiver.Missing(current.key)->size() == current.size());
  current.CheckMemory();
  CHECK(fake_nccl::violations().total() == 0);
}

TEST_CASE("after a closed session the transfer goes on in a new one", "[nccl]") {
  const bool by_receiver = GENERATE(true, false);
  fake_nccl::Reset({.seed = 11, .step_bytes = 500});
  DeviceWorld world(1, {.layers = 4, .pages = 20, .anchor_bytes = 3000, .residual_bytes = 2000});
  Waker waker;
  {
    NcclSenderSide s(&waker, {}, Frames(8000));
    NcclReceiverSide r(&waker);
    const JoinedSession joined = Join(&waker, &s, &r);
    REQUIRE(r.receiver.Grant(world.key, joined.at_receiver, world.Ranges()).ok());
    s.Start(world.key, joined.at_sender, world.Blocks());
    waker.Await([&] {
      r.TakeUntilComplete(&world);
      return world.published() > 20;
    });
    by_receiver ? r.client->CloseSession(joined.at_receiver)
                : s.server->CloseSession(joined.at_sender);
    CHECK(absl::IsCancelled(r.AwaitDown(&waker, joined.at_receiver)));
    CHECK(absl::IsCancelled(s.AwaitDown(&waker, joined.at_sender)));
    CHECK_FALSE(world.complete());
    const JoinedSession again = Join(&waker, &s, &r);
    REQUIRE(r.receiver.Rebind(world.key, again.at_receiver).ok());
    REQUIRE(s.sender.Rebind(world.key, again.at_sender).ok());
    r.TakeUntilComplete(&world);
    REQUIRE(s.sender.Resend(world.key, *r.receiver.Missing(world.key)).ok());
    waker.Await([&] { return r.TakeUntilComplete(&world); });
    world.CheckMemory();
  }
  CheckQuiet();
}

TEST_CASE("revoked memory is safe once its operation has ended", "[nccl]") {
  fake_nccl::Reset({.seed = 5, .step_bytes = 300});
  WorldShape shape{.layers = 2, .pages = 20, .anchor_bytes = 6000, .residual_bytes = 4000};
  DeviceWorld victim(1, shape), other(2, {});
  Waker waker;
  NcclSenderSide s(&waker, {}, Frames(24000));
  NcclReceiverSide r(&waker);
  const JoinedSession joined = Join(&waker, &s, &r);
  REQUIRE(r.receiver.Grant(victim.key, joined.at_receiver, victim.Ranges()).ok());
  s.Start(victim.key, joined.at_sender, victim.Blocks());
  waker.Await([&] { return r.receiver.stats().frames > 3; });
  if (!*r.receiver.Revoke(victim.key)) waker.Await([&] { return r.SawSafe(victim.key); });
  victim.Scribble(std::byte{7});
  if (!*s.sender.Cancel(victim.key)) waker.Await([&] { return s.SawReleased(victim.key); });
  victim.ScribbleSource();
  REQUIRE(r.receiver.Grant(other.key, joined.at_receiver, other.Ranges()).ok());
  s.Start(other.key, joined.at_sender, other.Blocks());
  waker.Await([&] { return r.TakeUntilComplete(&other); });
  CHECK(victim.AllIs(std::byte{7}));
  other.CheckMemory();
  CHECK(fake_nccl::violations().total() == 0);
}

TEST_CASE("pairs are limited, and an idle one gives way", "[nccl]") {
  fake_nccl::Reset({});
  Waker waker;
  {
    NcclServerOptions options;
    options.nccl.max_pairs = 1;
    const auto [idle_long_enough, held] =
        GENERATE(std::pair(false, false), std::pair(true, false), std::pair(true, true));
    const bool evicts = idle_long_enough && !held;
    options.nccl.evict_idle_after = idle_long_enough ? Nanos(1) : Nanos(seconds(3600));
    NcclSenderSide s(&waker, options);
    NcclReceiverSide r(&waker);
    const IssuedTicket first_ticket = *s.server->IssueTicket(kReceiverIncarnation);
    const SessionHold hold = held ? *s.server->HoldSession(first_ticket.ticket) : nullptr;
    const JoinedSession first = Join(&waker, &s, &r, first_ticket);
    if (evicts) {
      const JoinedSession second = Join(&waker, &s, &r);
      CHECK(absl::IsUnavailable(r.AwaitDown(&waker, first.at_receiver)));
      CHECK(absl::IsUnavailable(s.AwaitDown(&waker, first.at_sender)));
      CHECK(s.server->stats().sessions_evicted == 1);
      CHECK(absl::IsNotFound(s.server->HoldSession(first_ticket.ticket).status()));
      CHECK(second.at_sender != first.at_sender);
    } else {
      const IssuedTicket t = *s.server->IssueTicket(kReceiverIncarnation);
      const SessionId d = r.Dial(s.server->port(), t.ticket);
      CHECK(absl::IsResourceExhausted(r.AwaitDown(&waker, d)));
      CHECK(absl::IsResourceExhausted(s.AwaitDown(&waker, t.session)));
      CHECK_FALSE(s.Saw(SenderEvent::Type::kSessionDown, first.at_sender));
    }
  }
  CheckQuiet();
}

TEST_CASE("at the receiver, too, a pair in use does not give way", "[nccl]") {
  fake_nccl::Reset({});
  Waker waker;
  {
    NcclClientOptions options;
    options.nccl.max_pairs = 1;
    options.nccl.evict_idle_after = Nanos(1);
    NcclSenderSide s(&waker);
    NcclReceiverSide r(&waker, options);
    const JoinedSession first = Join(&waker, &s, &r);
    SessionHold hold = r.client->HoldSession(first.at_receiver);
    REQUIRE(hold != nullptr);
    const IssuedTicket refused = *s.server->IssueTicket(kReceiverIncarnation);
    CHECK(absl::IsResourceExhausted(r.AwaitDown(&waker, r.Dial(s.server->port(), refused.ticket))));
    hold = nullptr;
    Join(&waker, &s, &r);
    CHECK(absl::IsUnavailable(r.AwaitDown(&waker, first.at_receiver)));
    CHECK(r.client->HoldSession(first.at_receiver) == nullptr);
    CHECK(r.client->stats().sessions_evicted == 1);
    CHECK(r.client->Close());
    CHECK(s.server->Close());
  }
  CheckQuiet();
}

TEST_CASE("a frame that is larger than the receiver takes ends the session", "[nccl]") {
  fake_nccl::Reset({});
  DeviceWorld world(1, {});
  Waker waker;
  NcclSenderSide s(&waker);
  NcclClientOptions options;
  options.nccl.max_operation_bytes = 512;
  NcclReceiverSide r(&waker, options);
  const JoinedSession joined = Join(&waker, &s, &r);
  REQUIRE(r.receiver.Grant(world.key, joined.at_receiver, world.Ranges()).ok());
  s.Start(world.key, joined.at_sender, world.Blocks());
  const absl::Status why = s.AwaitDown(&waker, joined.at_sender);
  CHECK(absl::IsInvalidArgument(why));
  CHECK(std::string(why.message()).find("max_operation_bytes") != std::string::npos);
  CHECK(absl::IsInvalidArgument(r.AwaitDown(&waker, joined.at_receiver)));
}

TEST_CASE("tickets, versions and strangers at the NCCL port", "[nccl]") {
  fake_nccl::Reset({});
  Waker waker;
  NcclServerOptions options;
  options.ticket_lifetime = milliseconds(300);
  NcclSenderSide s(&waker, options);
  NcclReceiverSide r(&waker);
  CHECK(absl::IsPermissionDenied(r.AwaitDown(&waker, r.Dial(s.server->port(), Ticket{}))));

  NcclHello hello{.ticket = s.server->IssueTicket(kReceiverIncarnation)->ticket,
                  .sender_incarnation = kSenderIncarnation,
                  .receiver_incarnation = kReceiverIncarnation,
                  .max_operation_bytes = 1000,
                  .operations_in_flight = 1,
                  .wants_checksums = 0,
                  .nccl_version = 21800};
  {
    BareSocket peer = BareSocket::Connect(s.server->port());
    peer.Write(EncodeNcclMessage(MakeNcclHello(hello)));
    const auto header = peer.Read<kNcclHeaderBytes>();
    CHECK(NcclMessageBytes(header).ok());
  }
  {
    BareSocket peer = BareSocket::Connect(s.server->port());
    peer.Write(EncodeHello({.ticket = hello.ticket,
                            .sender_incarnation = kSenderIncarnation,
                            .receiver_incarnation = kReceiverIncarnation}));
    peer.ExpectEnd();
  }
  waker.Await([&] {
    return s.server->stats().refused_strangers == 1 && s.server->stats().refused_peers == 2;
  });
  const IssuedTicket t = *s.server->IssueTicket(kReceiverIncarnation);
  CHECK(absl::IsDeadlineExceeded(s.AwaitDown(&waker, t.session)));
}

TEST_CASE("a receiver that never comes to make communicators is given up", "[nccl]") {
  fake_nccl::Reset({});
  Waker waker;
  {
    NcclServerOptions options;
    options.nccl = ShortDeadlines();
    NcclSenderSide s(&waker, options);
    const IssuedTicket t = *s.server->IssueTicket(kReceiverIncarnation);
    BareSocket peer = BareSocket::Connect(s.server->port());
    peer.Write(EncodeNcclMessage(MakeNcclHello({.ticket = t.ticket,
                                                .sender_incarnation = kSenderIncarnation,
                                                .receiver_incarnation = kReceiverIncarnation,
                                                .max_operation_bytes = 1000,
                                                .operations_in_flight = 1,
                                                .wants_checksums = 0,
                                                .nccl_version = NCCL_VERSION_CODE})));
    SECTION("it stays silent") { CHECK(absl::IsDeadlineExceeded(s.AwaitDown(&waker, t.session))); }
    SECTION("it grants what was not announced") {
      peer.Write(EncodeNcclMessage(MakeNcclCredit(9, {})));
      CHECK(absl::IsInvalidArgument(s.AwaitDown(&waker, t.session)));
    }
    SECTION("it leaves") {
      peer.Close();
      CHECK(absl::IsUnavailable(s.AwaitDown(&waker, t.session)));
    }
  }
  CheckQuiet();
}

TEST_CASE("the NCCL channel says what it lacks", "[nccl]") {
  fake_nccl::Reset({});
  Sender sender(SendQueueOptions{});
  NcclServerOptions options;
  CHECK(absl::IsInvalidArgument(NcclServer::Start(options, &sender).status()));
  options.incarnation = 1;
  options.nccl.device = 9;
  CHECK_FALSE(NcclServer::Start(options, &sender).ok());
  simt::DeviceOptions device = simt::GetDeviceOptions();
  const simt::DeviceOptions usual = device;
  device.devices = 0;
  simt::SetDeviceOptions(device);
  options.nccl.device = 0;
  CHECK(absl::IsFailedPrecondition(NcclServer::Start(options, &sender).status()));
  simt::SetDeviceOptions(usual);
}

}  // namespace
}  // namespace lynx
