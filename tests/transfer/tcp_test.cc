// Two honest ends on loopback.
#include <netinet/in.h>

#include <catch2/catch.hpp>

#include "tests/transfer/tcp_world.h"

namespace lynx {
namespace {

using std::chrono::milliseconds;

// Both ends agree on a transfer and the sender offers all of it.
void StartTransfer(SenderSide* s, SessionId at_sender, ReceiverSide* r, SessionId at_receiver,
                   World* world) {
  REQUIRE(r->receiver.Grant(world->key, at_receiver, world->Ranges()).ok());
  REQUIRE(s->sender.Begin(world->key, at_sender).ok());
  REQUIRE(s->sender.Offer(world->key, world->Blocks()).ok());
  REQUIRE(s->sender.Granted(world->key).ok());
}

TEST_CASE("transfers of two pairs, interleaved, arrive exactly", "[tcp]") {
  WorldShape shape{.layers = 6, .pages = 40, .anchor_bytes = 15003, .residual_bytes = 9001};
  World a(1, shape), b(2, shape), c(3, shape);
  Waker waker;
  SenderSide s(&waker);
  ReceiverSide r1(&waker), r2(&waker);
  IssuedTicket t1 = *s.server->IssueTicket(kReceiverIncarnation);
  IssuedTicket t2 = *s.server->IssueTicket(kReceiverIncarnation);
  CHECK(**s.server->HoldSession(t2.ticket) == t2.session);
  SessionId d1 = r1.Dial(s.server->port(), t1.ticket);
  SessionId d2 = r2.Dial(s.server->port(), t2.ticket);
  // Before the sessions are up: nothing depends on the order.
  StartTransfer(&s, t1.session, &r1, d1, &a);
  StartTransfer(&s, t2.session, &r2, d2, &b);
  REQUIRE(r1.receiver.Grant(c.key, d1, c.Ranges()).ok());
  REQUIRE(s.sender.Begin(c.key, t1.session).ok());
  REQUIRE(s.sender.Granted(c.key).ok());
  for (uint32_t page = 0; page <= shape.pages; page += 8) {
    for (uint32_t layer = 0; layer < shape.layers; ++layer) {
      REQUIRE(s.sender.Offer(c.key, c.BlocksOf(layer, page, page + 8)).ok());
    }
  }
  waker.Await([&] {
    for (const Completion& done : r1.receiver.PollCompleted()) {
      (done.transfer == a.key ? a : c).Take(done);
    }
    r2.TakeUntilComplete(&b);
    return a.complete() && b.complete() && c.complete();
  });
  for (World* world : {&a, &b, &c}) {
    world->CheckMemory();
    REQUIRE(s.sender.End(world->key).ok());
  }
  CHECK(s.Saw(SenderEvent::Type::kSessionUp, t1.session));
  CHECK(r1.Saw(ReceiverEvent::Type::kSessionUp, d1));
  SenderStats stats = s.sender.stats();
  CHECK(stats.bytes_sent[0] + stats.bytes_sent[1] + stats.bytes_sent[2] ==
        a.total_bytes() + b.total_bytes() + c.total_bytes());
  CHECK(stats.blocks_resent == 0);
  CHECK(stats.transfers == 0);
  CHECK(r1.receiver.stats().duplicate_blocks == 0);
}

TEST_CASE("a frame of an old epoch is drained and the session lives", "[tcp]") {
  World old(1, {}, 1), current(1, {}, 2), other(2, {});
  Waker waker;
  SenderSide s(&waker);
  ReceiverSide r(&waker);
  IssuedTicket t = *s.server->IssueTicket(kReceiverIncarnation);
  SessionId d = r.Dial(s.server->port(), t.ticket);
  REQUIRE(r.receiver.Grant(current.key, d, current.Ranges()).ok());
  REQUIRE(s.sender.Begin(old.key, t.session).ok());
  REQUIRE(s.sender.Offer(old.key, old.Blocks()).ok());
  REQUIRE(s.sender.Granted(old.key).ok());
  waker.Await([&] { return r.receiver.stats().old_epoch_frames >= 3; });
  StartTransfer(&s, t.session, &r, d, &other);
  waker.Await([&] { return r.TakeUntilComplete(&other); });
  CHECK(r.receiver.Missing(current.key)->size() == current.size());
  current.CheckMemory();
}

TEST_CASE("after a lost session the transfer goes on in a new one", "[tcp]") {
  World world(1, {.layers = 4, .pages = 30, .anchor_bytes = 9000, .residual_bytes = 6000});
  Waker waker;
  TcpServerOptions options;
  SendQueueOptions slow;  // so that the loss falls into the transfer
  slow.rate_limit_bytes_per_s = 20'000'000;
  SenderSide s(&waker, options, slow);
  ReceiverSide r(&waker);
  IssuedTicket t = *s.server->IssueTicket(kReceiverIncarnation);
  SessionId d = r.Dial(s.server->port(), t.ticket);
  StartTransfer(&s, t.session, &r, d, &world);
  waker.Await([&] {
    r.TakeUntilComplete(&world);
    return world.published() > 20;
  });
  SECTION("cut by the receiver") { r.client->CloseSession(d); }
  SECTION("cut by the sender") { s.server->CloseSession(t.session); }
  CHECK_FALSE(r.AwaitDown(&waker, d).ok());
  waker.Await([&] { return s.Saw(SenderEvent::Type::kSessionDown, t.session); });
  CHECK_FALSE(world.complete());

  IssuedTicket again = *s.server->IssueTicket(kReceiverIncarnation);
  SessionId d2 = r.Dial(s.server->port(), again.ticket);
  REQUIRE(r.receiver.Rebind(world.key, d2).ok());
  REQUIRE(s.sender.Rebind(world.key, again.session).ok());
  REQUIRE(s.sender.Resend(world.key, *r.receiver.Missing(world.key)).ok());
  waker.Await([&] { return r.TakeUntilComplete(&world); });
  world.CheckMemory();
}

TEST_CASE("a cancelled transfer's pages are free at once at both ends", "[tcp]") {
  WorldShape shape{.layers = 2, .pages = 30, .anchor_bytes = 30000, .residual_bytes = 20000};
  World victim(1, shape), other(2, {});
  Waker waker;
  SendQueueOptions slow;
  slow.rate_limit_bytes_per_s = 50'000'000;
  SenderSide s(&waker, {}, slow);
  ReceiverSide r(&waker);
  IssuedTicket t = *s.server->IssueTicket(kReceiverIncarnation);
  SessionId d = r.Dial(s.server->port(), t.ticket);
  StartTransfer(&s, t.session, &r, d, &victim);
  waker.Await([&] { return r.receiver.stats().frames > 3; });
  if (!*r.receiver.Revoke(victim.key)) {
    waker.Await([&] {
      for (const ReceiverEvent& e : r.receiver.PollEvents()) {
        if (e.type == ReceiverEvent::Type::kMemorySafe) return true;
      }
      return false;
    });
  }
  victim.Scribble(std::byte{7});
  if (!*s.sender.Cancel(victim.key)) waker.Await([&] { return s.SawReleased(victim.key); });
  victim.ScribbleSource();
  StartTransfer(&s, t.session, &r, d, &other);
  waker.Await([&] { return r.TakeUntilComplete(&other); });
  victim.CheckScribble(std::byte{7});
  other.CheckMemory();
}

TEST_CASE("a ticket that nobody presents expires", "[tcp]") {
  Waker waker;
  TcpServerOptions options;
  options.ticket_lifetime = milliseconds(20);
  SenderSide s(&waker, options);
  IssuedTicket t = *s.server->IssueTicket(kReceiverIncarnation);
  waker.Await([&] { return s.Saw(SenderEvent::Type::kSessionDown, t.session); });
  CHECK(s.server->IssueTicket(kReceiverIncarnation).ok());
  ReceiverSide r(&waker);
  SessionId d = r.Dial(s.server->port(), t.ticket);
  CHECK(absl::IsPermissionDenied(r.AwaitDown(&waker, d)));
}

TEST_CASE("sessions are limited at both ends", "[tcp]") {
  Waker waker;
  TcpServerOptions options;
  options.max_sessions = 1;
  SenderSide s(&waker, options);
  IssuedTicket t = *s.server->IssueTicket(kReceiverIncarnation);
  CHECK(absl::IsResourceExhausted(s.server->IssueTicket(kReceiverIncarnation).status()));
  s.server->CloseSession(t.session);
  waker.Await([&] { return s.Saw(SenderEvent::Type::kSessionDown, t.session); });
  CHECK(s.server->IssueTicket(kReceiverIncarnation).ok());

  TcpClientOptions one;
  one.max_sessions = 1;
  ReceiverSide r(&waker, one);
  UniqueFd listener = *ListenTcp("127.0.0.1", 0);  // never answers
  DialRequest request{.host = "127.0.0.1",
                      .port = *LocalPort(listener.get()),
                      .ticket = {},
                      .sender_incarnation = 1};
  CHECK(r.client->Dial(request).ok());
  CHECK(absl::IsResourceExhausted(r.client->Dial(request).status()));
}

TEST_CASE("a data port where nobody listens is told soon", "[tcp]") {
  Waker waker;
  ReceiverSide r(&waker);
  uint16_t port = 0;
  {
    UniqueFd listener = *ListenTcp("127.0.0.1", 0);
    port = *LocalPort(listener.get());
  }
  SessionId d = r.Dial(port, Ticket{});
  CHECK(absl::IsUnavailable(r.AwaitDown(&waker, d)));
  CHECK(absl::IsUnavailable(
      r.client
          ->Dial({.host = "no-such-host.invalid", .port = 1, .ticket = {}, .sender_incarnation = 1})
          .status()));
}

TEST_CASE("options are checked, ports reported, streams marked", "[tcp]") {
  Sender sender(SendQueueOptions{});
  TcpServerOptions options;
  CHECK(absl::IsInvalidArgument(TcpServer::Start(options, &sender).status()));
  options.incarnation = 1;
  auto first = TcpServer::Start(options, &sender);
  REQUIRE(first.ok());
  options.port = (*first)->port();
  CHECK(absl::IsUnavailable(TcpServer::Start(options, &sender).status()));
  options.tcp.anchor_dscp = 64;
  CHECK(absl::IsInvalidArgument(TcpServer::Start(options, &sender).status()));

  UniqueFd fd(::socket(AF_INET, SOCK_STREAM, 0));
  MarkStream(fd.get(), Stream::kAnchor, TcpOptions{});
  int tos = 0;
  socklen_t length = sizeof(tos);
  REQUIRE(::getsockopt(fd.get(), IPPROTO_IP, IP_TOS, &tos, &length) == 0);
  CHECK(tos == 34 << 2);
}

}  // namespace
}  // namespace lynx
