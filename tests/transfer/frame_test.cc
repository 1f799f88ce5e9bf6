#include "transfer/frame.h"

#include <catch2/catch.hpp>
#include <cstring>

namespace lynx {
namespace {

FrameHeader Sample() {
  FrameHeader h{.stream = Stream::kResidual,
                .kind = BlockKind::kResidualPage,
                .transfer = {},
                .layer = 29,
                .first_page = 70000,
                .page_count = 3,
                .payload_bytes = 3 * 1152,
                .payload_checksum = 0x1122334455667788};
  for (int i = 0; i < 16; ++i) h.transfer.id.bytes[i] = static_cast<uint8_t>(0xa0 + i);
  h.transfer.epoch = 0x01020304;
  return h;
}

template <typename Bytes>
Bytes Flip(Bytes bytes, size_t bit) {
  bytes[bit / 8] ^= std::byte{1} << (bit % 8);
  return bytes;
}

TEST_CASE("a frame header survives the wire", "[frame]") {
  auto parsed = ParseFrameHeader(EncodeFrameHeader(Sample()));
  REQUIRE(parsed.ok());
  CHECK(*parsed == Sample());
  CHECK(parsed->block_bytes() == 1152);
  CHECK(parsed->block(2) == BlockId{29, BlockKind::kResidualPage, 70002});
}

TEST_CASE("the header's bytes are those of docs/wire-format.md", "[frame]") {
  FrameHeaderBytes b = EncodeFrameHeader(Sample());
  auto at = [&](size_t i) { return std::to_integer<int>(b[i]); };
  CHECK(std::memcmp(b.data(), "LYNF", 4) == 0);
  CHECK((at(4) == 1 && at(5) == 0));
  CHECK(at(6) == 1);
  CHECK(at(7) == 1);
  CHECK((at(8) == 0xa0 && at(23) == 0xaf));
  CHECK((at(24) == 4 && at(25) == 3 && at(26) == 2 && at(27) == 1));
  CHECK(at(28) == 29);
  CHECK((at(32) == 0x70 && at(33) == 0x11 && at(34) == 0x01 && at(35) == 0));
  CHECK(at(36) == 3);
  CHECK((at(40) == 0x80 && at(41) == 0x0d));
  CHECK((at(48) == 0x88 && at(55) == 0x11));
}

TEST_CASE("every flipped bit of a header is noticed", "[frame]") {
  FrameHeaderBytes good = EncodeFrameHeader(Sample());
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    CAPTURE(bit);
    REQUIRE_FALSE(ParseFrameHeader(Flip(good, bit)).ok());
  }
}

TEST_CASE("every flipped bit of a payload changes its checksum", "[frame]") {
  std::vector<std::byte> payload(1152);
  for (size_t i = 0; i < payload.size(); ++i) payload[i] = std::byte(i * 7);
  uint64_t good = PayloadChecksum(payload);
  PayloadHasher pieces;
  pieces.Update(std::span(payload).first(100));
  pieces.Update(std::span(payload).subspan(100));
  CHECK(pieces.Digest() == good);
  for (size_t bit = 0; bit < payload.size() * 8; ++bit) {
    REQUIRE(PayloadChecksum(Flip(payload, bit)) != good);
  }
}

TEST_CASE("an intact header that breaks a rule is refused", "[frame]") {
  auto refused = [](auto change) {
    FrameHeader h = Sample();
    change(h);
    auto parsed = ParseFrameHeader(EncodeFrameHeader(h));
    return !parsed.ok() && absl::IsInvalidArgument(parsed.status());
  };
  CHECK(refused([](auto& h) { h.stream = Stream::kAnchor; }));
  CHECK(refused([](auto& h) { h.stream = static_cast<Stream>(2); }));
  CHECK(refused([](auto& h) { h.kind = static_cast<BlockKind>(kBlockKinds); }));
  CHECK(refused([](auto& h) { h.layer = kMaxLayers; }));
  CHECK(refused([](auto& h) { h.page_count = 0; }));
  CHECK(refused([](auto& h) { h.page_count = kMaxFramePages + 1; }));
  CHECK(refused([](auto& h) { h.first_page = kMaxPages - 2; }));
  CHECK(refused([](auto& h) { h.first_page = UINT32_MAX; }));
  CHECK(refused([](auto& h) { h.payload_bytes = 0; }));
  CHECK(refused([](auto& h) { h.payload_bytes = 3 * 1152 + 1; }));
  CHECK(refused([](auto& h) { h.payload_bytes = kMaxPayloadBytes + 2; }));
  CHECK(refused([](auto& h) { h.kind = BlockKind::kTailPage; }));  // three pages
  FrameHeader tail = Sample();
  tail.kind = BlockKind::kTailPage;
  tail.page_count = 1;
  tail.payload_bytes = 0;
  CHECK(ParseFrameHeader(EncodeFrameHeader(tail)).ok());
}

TEST_CASE("hello and reply survive the wire, and no flipped bit does", "[frame]") {
  Hello hello{.stream = Stream::kResidual, .sender_incarnation = 5, .receiver_incarnation = 6};
  for (size_t i = 0; i < hello.ticket.size(); ++i) hello.ticket[i] = static_cast<uint8_t>(i);
  HelloBytes bytes = EncodeHello(hello);
  auto parsed = ParseHello(bytes);
  REQUIRE(parsed.ok());
  CHECK(*parsed == hello);
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit)
    REQUIRE_FALSE(ParseHello(Flip(bytes, bit)).ok());
  hello.sender_incarnation = 0;
  CHECK_FALSE(ParseHello(EncodeHello(hello)).ok());

  ReplyBytes reply = EncodeHelloReply(HelloResult::kAccepted);
  CHECK(ParseHelloReply(reply).ok());
  for (size_t bit = 0; bit < reply.size() * 8; ++bit) {
    REQUIRE_FALSE(ParseHelloReply(Flip(reply, bit)).ok());
  }
  CHECK(absl::IsPermissionDenied(ParseHelloReply(EncodeHelloReply(HelloResult::kBadTicket))));
  CHECK(absl::IsFailedPrecondition(
      ParseHelloReply(EncodeHelloReply(HelloResult::kOtherIncarnation))));
  CHECK(absl::IsUnimplemented(ParseHelloReply(EncodeHelloReply(HelloResult::kOtherVersion))));
  CHECK(absl::IsDataLoss(ParseHelloReply(EncodeHelloReply(static_cast<HelloResult>(9)))));
}

}  // namespace
}  // namespace lynx
