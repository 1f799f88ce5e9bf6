// Broken, silent and hostile peers on loopback.
#include <catch2/catch.hpp>

#include "tests/transfer/tcp_world.h"

namespace lynx {
namespace {

using std::chrono::milliseconds;

HelloBytes HelloFor(const Ticket& ticket, Stream stream) {
  return EncodeHello({.stream = stream,
                      .ticket = ticket,
                      .sender_incarnation = kSenderIncarnation,
                      .receiver_incarnation = kReceiverIncarnation});
}

TEST_CASE("strangers are closed and counted, and harm nobody", "[tcp]") {
  World world(1, {});
  Waker waker;
  TcpServerOptions options;
  options.tcp.handshake_timeout = milliseconds(30);
  SenderSide s(&waker, options);
  ReceiverSide r(&waker);
  IssuedTicket t = *s.server->IssueTicket(kReceiverIncarnation);
  SessionId d = r.Dial(s.server->port(), t.ticket);
  r.AwaitUp(&waker, d);

  BareSocket garbage = BareSocket::Connect(s.server->port());
  std::vector<std::byte> noise(4096);
  for (size_t i = 0; i < noise.size(); ++i) noise[i] = std::byte(i * 131 + 7);
  garbage.Write(noise);
  garbage.ExpectEnd();
  BareSocket http = BareSocket::Connect(s.server->port());
  std::string get = "GET / HTTP/1.1\r\nHost: example.com\r\nUser-Agent: curious/1.0\r\n\r\n";
  http.Write(std::as_bytes(std::span(get)));
  http.ExpectEnd();
  BareSocket silent = BareSocket::Connect(s.server->port());
  silent.ExpectEnd();
  BareSocket half = BareSocket::Connect(s.server->port());
  HelloBytes begun = HelloFor(t.ticket, Stream::kAnchor);
  half.Write(std::span(begun).first(40));
  half.ExpectEnd();
  BareSocket gone = BareSocket::Connect(s.server->port());
  gone.Close();
  waker.Await([&] { return s.server->stats().refused_strangers == 5; });

  auto refusal = [&](const HelloBytes& hello) {
    BareSocket socket = BareSocket::Connect(s.server->port());
    socket.Write(hello);
    absl::Status status = ParseHelloReply(socket.Read<kReplyBytes>());
    socket.ExpectEnd();
    return status;
  };
  CHECK(absl::IsPermissionDenied(refusal(HelloFor(Ticket{}, Stream::kAnchor))));
  CHECK(absl::IsPermissionDenied(refusal(HelloFor(t.ticket, Stream::kAnchor))));  // used
  IssuedTicket t2 = *s.server->IssueTicket(kReceiverIncarnation);
  CHECK(absl::IsFailedPrecondition(
      refusal(EncodeHello({.stream = Stream::kAnchor,
                           .ticket = t2.ticket,
                           .sender_incarnation = 5,
                           .receiver_incarnation = kReceiverIncarnation}))));
  HelloBytes version = HelloFor(t2.ticket, Stream::kAnchor);
  version[4] = std::byte{9};
  CHECK(absl::IsUnimplemented(refusal(version)));
  CHECK(s.server->stats().refused_peers == 4);

  REQUIRE(r.receiver.Grant(world.key, d, world.Ranges()).ok());
  REQUIRE(s.sender.Begin(world.key, t.session).ok());
  REQUIRE(s.sender.Offer(world.key, world.Blocks()).ok());
  REQUIRE(s.sender.Granted(world.key).ok());
  waker.Await([&] { return r.TakeUntilComplete(&world); });
  world.CheckMemory();
}

TEST_CASE("too many unknown connections are refused", "[tcp]") {
  Waker waker;
  TcpServerOptions options;
  options.max_unknown_connections = 2;
  SenderSide s(&waker, options);
  std::vector<BareSocket> sockets;
  for (int i = 0; i < 4; ++i) sockets.push_back(BareSocket::Connect(s.server->port()));
  sockets[2].ExpectEnd();
  sockets[3].ExpectEnd();
  CHECK(s.server->stats().refused_overload == 2);
}

TEST_CASE("a receiver that sends data is closed", "[tcp]") {
  Waker waker;
  SenderSide s(&waker);
  IssuedTicket t = *s.server->IssueTicket(kReceiverIncarnation);
  BareSocket anchor = BareSocket::Connect(s.server->port());
  anchor.Write(HelloFor(t.ticket, Stream::kAnchor));
  CHECK(ParseHelloReply(anchor.Read<kReplyBytes>()).ok());
  anchor.Write(EncodeHelloReply(HelloResult::kAccepted));
  anchor.ExpectEnd();
  waker.Await([&] { return s.Saw(SenderEvent::Type::kSessionDown, t.session); });
}

// A receiver that reads nothing: its frames cannot be written.
TEST_CASE("a stuck receiver holds up neither others nor memory, and is given up", "[tcp]") {
  World big(1, {.layers = 2, .pages = 100, .anchor_bytes = 100000, .residual_bytes = 1000});
  World held(2, {.layers = 1, .pages = 40, .anchor_bytes = 100000, .residual_bytes = 100});
  World other(3, {});
  Waker waker;
  TcpServerOptions options;
  options.tcp.stall_timeout = milliseconds(300);
  SenderSide s(&waker, options);
  ReceiverSide r(&waker);
  IssuedTicket stuck = *s.server->IssueTicket(kReceiverIncarnation);
  std::vector<BareSocket> sockets;
  for (Stream stream : {Stream::kAnchor, Stream::kResidual}) {
    sockets.push_back(BareSocket::Connect(s.server->port()));
    int small = 4096;
    ::setsockopt(sockets.back().fd(), SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    sockets.back().Write(HelloFor(stuck.ticket, stream));
    CHECK(ParseHelloReply(sockets.back().Read<kReplyBytes>()).ok());
  }
  for (World* world : {&big, &held}) {
    REQUIRE(s.sender.Begin(world->key, stuck.session).ok());
    REQUIRE(s.sender.Offer(world->key, world->Blocks()).ok());
    REQUIRE(s.sender.Granted(world->key).ok());
  }
  waker.Await([&] { return s.sender.stats().frames_sent > 0; });

  IssuedTicket t = *s.server->IssueTicket(kReceiverIncarnation);
  SessionId d = r.Dial(s.server->port(), t.ticket);
  REQUIRE(r.receiver.Grant(other.key, d, other.Ranges()).ok());
  REQUIRE(s.sender.Begin(other.key, t.session).ok());
  REQUIRE(s.sender.Offer(other.key, other.Blocks()).ok());
  REQUIRE(s.sender.Granted(other.key).ok());
  waker.Await([&] { return r.TakeUntilComplete(&other); });

  // A frame of `big` is stuck in its middle; its memory comes back all the same.
  if (!*s.sender.Cancel(big.key)) waker.Await([&] { return s.SawReleased(big.key); });
  big.ScribbleSource();
  waker.Await([&] { return s.Saw(SenderEvent::Type::kSessionDown, stuck.session); });
  CHECK(*s.sender.End(held.key));
}

// ---- Receivers facing a broken sender
// ------------------------------------------------------------

FrameHeaderBytes HeaderOf(const World& world, uint64_t bytes) {
  return EncodeFrameHeader({.stream = Stream::kAnchor,
                            .kind = BlockKind::kAnchorPage,
                            .transfer = world.key,
                            .layer = 0,
                            .first_page = 0,
                            .page_count = 2,
                            .payload_bytes = bytes,
                            .payload_checksum = 1});
}

TEST_CASE("a sender that breaks off leaves whole blocks or none", "[tcp]") {
  World world(1, {});
  Waker waker;
  TcpClientOptions options;
  options.tcp.stall_timeout = milliseconds(50);
  options.tcp.handshake_timeout = milliseconds(200);
  ReceiverSide r(&waker, options);
  BareSender sender;
  SessionId d = r.Dial(sender.port, Ticket{});
  sender.Accept();
  r.AwaitUp(&waker, d);
  REQUIRE(r.receiver.Grant(world.key, d, world.Ranges()).ok());
  std::vector<std::byte> half(1500);

  SECTION("killed in mid-frame") {
    sender.anchor().Write(HeaderOf(world, 2000));
    sender.anchor().Write(half);
    sender.anchor().Close();
    CHECK(absl::IsUnavailable(r.AwaitDown(&waker, d)));
    CHECK(r.receiver.stats().cut_frames == 1);
  }
  SECTION("silent in mid-frame") {
    sender.anchor().Write(HeaderOf(world, 2000));
    sender.anchor().Write(half);
    CHECK(absl::IsDeadlineExceeded(r.AwaitDown(&waker, d)));
    CHECK(r.receiver.stats().cut_frames == 1);
  }
  SECTION("silent in the middle of a header") {
    FrameHeaderBytes begun = HeaderOf(world, 2000);
    sender.anchor().Write(std::span(begun).first(10));
    CHECK(absl::IsDeadlineExceeded(r.AwaitDown(&waker, d)));
  }
  SECTION("garbage instead of a header") {
    sender.anchor().Write(half);
    CHECK(absl::IsDataLoss(r.AwaitDown(&waker, d)));
    CHECK(r.receiver.stats().bad_headers == 1);
  }
  SECTION("a frame of the other stream") {
    sender.streams[1]->Write(HeaderOf(world, 2000));
    CHECK(absl::IsInvalidArgument(r.AwaitDown(&waker, d)));
    CHECK(r.receiver.stats().bad_headers == 1);
  }
  SECTION("a wrong payload") {
    sender.anchor().Write(HeaderOf(world, 2000));
    sender.anchor().Write(half);
    sender.anchor().Write(std::span(half).first(500));
    waker.Await([&] { return r.receiver.stats().bad_payload_frames == 1; });
    CHECK_FALSE(r.Saw(ReceiverEvent::Type::kSessionDown, d));  // the framing is intact
  }
  CHECK(r.receiver.Missing(world.key)->size() == world.size());
  CHECK(r.receiver.PollCompleted().empty());
  CHECK(*r.receiver.Revoke(world.key));
}

TEST_CASE("a server that does not greet is given up", "[tcp]") {
  Waker waker;
  TcpClientOptions options;
  options.tcp.handshake_timeout = milliseconds(50);
  ReceiverSide r(&waker, options);
  BareSender sender;
  SessionId d = r.Dial(sender.port, Ticket{});
  CHECK(absl::IsDeadlineExceeded(r.AwaitDown(&waker, d)));
}

}  // namespace
}  // namespace lynx
