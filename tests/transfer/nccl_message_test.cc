// The control messages: what is written is read, and what is damaged is refused.
#include "transfer/nccl_message.h"

#include <catch2/catch.hpp>

#include "transfer/nccl_options.h"

namespace lynx {
namespace {

NcclAnnounce SomeAnnounce(uint32_t pages) {
  NcclAnnounce announce{.header = {.stream = Stream::kResidual,
                                   .kind = BlockKind::kResidualPage,
                                   .transfer = {},
                                   .layer = 3,
                                   .first_page = 7,
                                   .page_count = pages,
                                   .payload_bytes = 16 * pages,
                                   .payload_checksum = 0},
                        .joins = NcclJoins(pages)};
  for (uint32_t i = 0; i + 1 < pages; ++i) announce.joins[i] = i % 3 == 0;
  return announce;
}

TEST_CASE("control messages come back as they were", "[nccl]") {
  for (uint32_t pages : {1u, 7u, 8u, 9u, 1024u}) {
    const NcclAnnounce sent = SomeAnnounce(pages);
    const auto bytes = EncodeNcclMessage(MakeNcclAnnounce(5, sent));
    const auto length =
        NcclMessageBytes(std::span<const std::byte>(bytes).first<kNcclHeaderBytes>());
    REQUIRE(length.ok());
    REQUIRE(*length == bytes.size());
    const auto message = ParseNcclMessage(bytes);
    REQUIRE(message.ok());
    CHECK(message->sequence == 5);
    const auto got = ParseNcclAnnounce(*message);
    REQUIRE(got.ok());
    CHECK(got->header == sent.header);
    CHECK(got->joins == sent.joins);
    const NcclMessage credit = MakeNcclCredit(5, sent.joins);
    CHECK(*ParseNcclCredit(credit, pages) == sent.joins);
    CHECK_FALSE(ParseNcclCredit(credit, pages + 8).ok());
  }
  const auto fail = ParseNcclFail(MakeNcclFail(absl::AbortedError("why\n")));
  CHECK(fail.code() == absl::StatusCode::kAborted);
  CHECK(std::string(fail.message()).find("why?") != std::string::npos);
}

TEST_CASE("every flipped bit of a control message is found", "[nccl]") {
  const auto good = EncodeNcclMessage(MakeNcclAnnounce(5, SomeAnnounce(9)));
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    auto bytes = good;
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    const auto length =
        NcclMessageBytes(std::span<const std::byte>(bytes).first<kNcclHeaderBytes>());
    if (!length.ok() || *length != bytes.size()) continue;
    REQUIRE_FALSE(ParseNcclMessage(bytes).ok());
  }
}

TEST_CASE("a message of another type or size is refused", "[nccl]") {
  NcclMessage hello = MakeNcclHello({.ticket = {},
                                     .sender_incarnation = 1,
                                     .receiver_incarnation = 2,
                                     .max_operation_bytes = 3,
                                     .operations_in_flight = 0,
                                     .wants_checksums = 0,
                                     .nccl_version = 5});
  CHECK(absl::IsInvalidArgument(ParseNcclHello(hello).status()));
  CHECK(absl::IsInvalidArgument(ParseNcclOpen(hello).status()));
  hello.body.pop_back();
  CHECK(absl::IsInvalidArgument(ParseNcclHello(hello).status()));
  NcclMessage announce = MakeNcclAnnounce(1, SomeAnnounce(4));
  announce.argument = 0;  // the other stream
  CHECK(absl::IsInvalidArgument(ParseNcclAnnounce(announce).status()));
  announce.body.resize(10);
  CHECK(absl::IsInvalidArgument(ParseNcclAnnounce(announce).status()));
}

TEST_CASE("a greeting that wants unknown checksums is refused", "[nccl]") {
  const NcclHello hello{.ticket = {},
                        .sender_incarnation = 1,
                        .receiver_incarnation = 2,
                        .max_operation_bytes = 3,
                        .operations_in_flight = 1,
                        .wants_checksums = 2,
                        .nccl_version = 5};
  CHECK(absl::IsUnimplemented(ParseNcclHello(MakeNcclHello(hello)).status()));
}

TEST_CASE("NCCL options are checked", "[nccl]") {
  CHECK(NcclOptions{}.Validate().ok());
  CHECK_FALSE(NcclOptions{.device = -1}.Validate().ok());
  CHECK_FALSE(NcclOptions{.max_operation_bytes = 0}.Validate().ok());
  CHECK_FALSE(NcclOptions{.operations_in_flight = 0}.Validate().ok());
  CHECK_FALSE(NcclOptions{.max_pairs = 0}.Validate().ok());
  CHECK_FALSE(NcclOptions{.operation_timeout = Nanos(0)}.Validate().ok());
}

}  // namespace
}  // namespace lynx
