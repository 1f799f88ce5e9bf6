#include "transfer/frame.h"

#include <bit>
#include <cstddef>
#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace lynx {
namespace {

// The wire structs are the wire bytes only on such a machine, and every target of ours is one.
static_assert(std::endian::native == std::endian::little);

template <typename Wire>
uint64_t ChecksumBefore(const Wire& wire, size_t bytes) {
  return XXH3_64bits(&wire, bytes);
}

absl::Status CheckVersion(uint16_t version) {
  if (version == kWireVersion) return absl::OkStatus();
  return absl::UnimplementedError(
      absl::StrCat("wire version ", version, ", this program speaks ", kWireVersion));
}

absl::Status CheckPlace(const WireFrameHeader& w) {
  if (w.kind >= kBlockKinds) {
    return absl::InvalidArgumentError(absl::StrCat("unknown block kind ", w.kind));
  }
  BlockKind kind = static_cast<BlockKind>(w.kind);
  if (w.stream != static_cast<uint8_t>(StreamOf(ClassOf(kind)))) {
    return absl::InvalidArgumentError(
        absl::StrCat("block kind ", BlockKindName(kind), " on stream ", w.stream));
  }
  if (w.layer >= kMaxLayers) {
    return absl::InvalidArgumentError(absl::StrCat("layer ", w.layer, " is out of range"));
  }
  if (w.page_count == 0 || w.page_count > kMaxFramePages || w.first_page >= kMaxPages ||
      w.page_count > kMaxPages - w.first_page) {
    return absl::InvalidArgumentError(
        absl::StrCat("pages ", w.first_page, " + ", w.page_count, " are out of range"));
  }
  return absl::OkStatus();
}

absl::Status CheckLength(const WireFrameHeader& w) {
  bool tail = static_cast<BlockKind>(w.kind) == BlockKind::kTailPage;
  if (tail && w.page_count != 1) {
    return absl::InvalidArgumentError(absl::StrCat("a tail frame of ", w.page_count, " pages"));
  }
  if (w.payload_bytes > kMaxPayloadBytes || w.payload_bytes % w.page_count != 0 ||
      (w.payload_bytes == 0 && !tail)) {
    return absl::InvalidArgumentError(
        absl::StrCat("payload of ", w.payload_bytes, " bytes for ", w.page_count, " pages"));
  }
  return absl::OkStatus();
}

}  // namespace

FrameHeaderBytes EncodeFrameHeader(const FrameHeader& header) {
  WireFrameHeader w{.magic = kFrameMagic,
                    .version = kWireVersion,
                    .stream = static_cast<uint8_t>(header.stream),
                    .kind = static_cast<uint8_t>(header.kind),
                    .transfer_id = header.transfer.id.bytes,
                    .epoch = header.transfer.epoch,
                    .layer = header.layer,
                    .first_page = header.first_page,
                    .page_count = header.page_count,
                    .payload_bytes = header.payload_bytes,
                    .payload_checksum = header.payload_checksum,
                    .header_checksum = 0};
  w.header_checksum = ChecksumBefore(w, offsetof(WireFrameHeader, header_checksum));
  return std::bit_cast<FrameHeaderBytes>(w);
}

absl::StatusOr<FrameHeader> ParseFrameHeader(std::span<const std::byte, kFrameHeaderBytes> bytes) {
  WireFrameHeader w;
  std::memcpy(&w, bytes.data(), sizeof(w));
  if (w.magic != kFrameMagic) return absl::DataLossError("not a frame: wrong magic number");
  RETURN_IF_ERROR(CheckVersion(w.version));
  if (w.header_checksum != ChecksumBefore(w, offsetof(WireFrameHeader, header_checksum))) {
    return absl::DataLossError("frame header damaged: wrong checksum");
  }
  RETURN_IF_ERROR(CheckPlace(w));
  RETURN_IF_ERROR(CheckLength(w));
  return FrameHeader{.stream = static_cast<Stream>(w.stream),
                     .kind = static_cast<BlockKind>(w.kind),
                     .transfer = {.id = {w.transfer_id}, .epoch = w.epoch},
                     .layer = w.layer,
                     .first_page = w.first_page,
                     .page_count = w.page_count,
                     .payload_bytes = w.payload_bytes,
                     .payload_checksum = w.payload_checksum};
}

uint64_t PayloadChecksum(std::span<const std::byte> payload) {
  return XXH3_64bits(payload.data(), payload.size());
}

struct PayloadHasher::State {
  XXH3_state_t xxh;
};

PayloadHasher::PayloadHasher() : state_(std::make_unique<State>()) {
  XXH3_64bits_reset(&state_->xxh);
}
PayloadHasher::~PayloadHasher() = default;

void PayloadHasher::Update(std::span<const std::byte> bytes) {
  XXH3_64bits_update(&state_->xxh, bytes.data(), bytes.size());
}

uint64_t PayloadHasher::Digest() const { return XXH3_64bits_digest(&state_->xxh); }

HelloBytes EncodeHello(const Hello& hello) {
  WireHello w{.magic = kHelloMagic,
              .version = kWireVersion,
              .stream = static_cast<uint8_t>(hello.stream),
              .reserved = 0,
              .ticket = hello.ticket,
              .sender_incarnation = hello.sender_incarnation,
              .receiver_incarnation = hello.receiver_incarnation,
              .checksum = 0};
  w.checksum = ChecksumBefore(w, offsetof(WireHello, checksum));
  return std::bit_cast<HelloBytes>(w);
}

absl::StatusOr<Hello> ParseHello(std::span<const std::byte, kHelloBytes> bytes) {
  WireHello w;
  std::memcpy(&w, bytes.data(), sizeof(w));
  if (w.magic != kHelloMagic) return absl::DataLossError("not a hello: wrong magic number");
  RETURN_IF_ERROR(CheckVersion(w.version));
  if (w.checksum != ChecksumBefore(w, offsetof(WireHello, checksum))) {
    return absl::DataLossError("hello damaged: wrong checksum");
  }
  if (w.stream >= kStreams || w.reserved != 0) {
    return absl::InvalidArgumentError(absl::StrCat("hello for unknown stream ", w.stream));
  }
  if (w.sender_incarnation == 0 || w.receiver_incarnation == 0) {
    return absl::InvalidArgumentError("hello without an incarnation");
  }
  return Hello{.stream = static_cast<Stream>(w.stream),
               .ticket = w.ticket,
               .sender_incarnation = w.sender_incarnation,
               .receiver_incarnation = w.receiver_incarnation};
}

ReplyBytes EncodeHelloReply(HelloResult result) {
  WireHelloReply w{.magic = kReplyMagic,
                   .version = kWireVersion,
                   .result = static_cast<uint16_t>(result),
                   .checksum = 0};
  w.checksum = ChecksumBefore(w, offsetof(WireHelloReply, checksum));
  return std::bit_cast<ReplyBytes>(w);
}

absl::Status ParseHelloReply(std::span<const std::byte, kReplyBytes> bytes) {
  WireHelloReply w;
  std::memcpy(&w, bytes.data(), sizeof(w));
  if (w.magic != kReplyMagic ||
      w.checksum != ChecksumBefore(w, offsetof(WireHelloReply, checksum))) {
    return absl::DataLossError("the peer's answer is not a data-plane greeting");
  }
  RETURN_IF_ERROR(CheckVersion(w.version));
  switch (static_cast<HelloResult>(w.result)) {
    case HelloResult::kAccepted:
      return absl::OkStatus();
    case HelloResult::kBadTicket:
      return absl::PermissionDeniedError("the peer refused the ticket: unknown, expired or used");
    case HelloResult::kOtherIncarnation:
      return absl::FailedPreconditionError("the ticket belongs to another start of a server");
    case HelloResult::kOtherVersion:
      return absl::UnimplementedError("the peer speaks another wire version");
  }
  return absl::DataLossError(absl::StrCat("unknown answer ", w.result, " to the greeting"));
}

}  // namespace lynx
