// The data plane's wire format; the grammar stands in docs/wire-format.md. All integers are
// little-endian.
//
//   connection := hello hello-reply frame*        one TCP connection for each stream
//   frame      := header payload                  payload = page_count blocks, one after another
//
// A frame carries one or several consecutive pages of one (layer, kind). All of a frame's blocks
// have the same length, except that a Tail frame holds one page of any length.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>

#include "runtime/status.h"
#include "transfer/block.h"

namespace lynx {

inline constexpr uint16_t kWireVersion = 1;
inline constexpr uint32_t kFrameMagic = 0x464e594c;  // "LYNF"
inline constexpr uint32_t kHelloMagic = 0x484e594c;  // "LYNH"
inline constexpr uint32_t kReplyMagic = 0x524e594c;  // "LYNR"

// Limits that a parser enforces: what a peer may make us set aside or wait for.
inline constexpr uint32_t kMaxFramePages = 1024;
inline constexpr uint64_t kMaxPayloadBytes = uint64_t{64} << 20;
inline constexpr uint32_t kMaxLayers = 4096;
inline constexpr uint32_t kMaxPages = uint32_t{1} << 22;  // 268M tokens

// As it is on the wire on a little-endian machine. One cache line.
struct WireFrameHeader {
  uint32_t magic;
  uint16_t version;
  uint8_t stream;
  uint8_t kind;
  std::array<uint8_t, 16> transfer_id;
  uint32_t epoch;
  uint32_t layer;
  uint32_t first_page;
  uint32_t page_count;
  uint64_t payload_bytes;
  uint64_t payload_checksum;  // XXH3 (64 bits, seed 0) of the payload
  uint64_t header_checksum;   // XXH3 of the 56 bytes before it
};
static_assert(sizeof(WireFrameHeader) == 64);
static_assert(std::has_unique_object_representations_v<WireFrameHeader>, "padding on the wire");

// A parsed and validated header.
struct FrameHeader {
  Stream stream = Stream::kAnchor;
  BlockKind kind = BlockKind::kAnchorPage;
  TransferKey transfer;
  uint32_t layer = 0;
  uint32_t first_page = 0;
  uint32_t page_count = 1;
  uint64_t payload_bytes = 0;
  uint64_t payload_checksum = 0;
  friend bool operator==(const FrameHeader&, const FrameHeader&) = default;

  uint64_t block_bytes() const { return payload_bytes / page_count; }
  BlockId block(uint32_t i) const { return {layer, kind, first_page + i}; }
};

inline constexpr size_t kFrameHeaderBytes = sizeof(WireFrameHeader);
using FrameHeaderBytes = std::array<std::byte, kFrameHeaderBytes>;

FrameHeaderBytes EncodeFrameHeader(const FrameHeader& header);

// DATA_LOSS if the bytes are not an intact header (the connection is then useless: its framing is
// lost), UNIMPLEMENTED for another version, INVALID_ARGUMENT for an intact header that breaks a
// rule. Checks everything that can be known without the grant.
absl::StatusOr<FrameHeader> ParseFrameHeader(std::span<const std::byte, kFrameHeaderBytes> bytes);

uint64_t PayloadChecksum(std::span<const std::byte> payload);

// The same in pieces, while they are warm in the cache.
class PayloadHasher {
 public:
  PayloadHasher();
  ~PayloadHasher();
  PayloadHasher(const PayloadHasher&) = delete;
  void Update(std::span<const std::byte> bytes);
  uint64_t Digest() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// ---- Opening a connection
// ------------------------------------------------------------------------------------------

using Ticket = std::array<uint8_t, 32>;

struct WireHello {
  uint32_t magic;
  uint16_t version;
  uint8_t stream;
  uint8_t reserved;  // 0
  Ticket ticket;
  uint64_t sender_incarnation;    // of the server dialled: 0 is never valid
  uint64_t receiver_incarnation;  // of the dialling one
  uint64_t checksum;              // XXH3 of the 56 bytes before it
};
static_assert(sizeof(WireHello) == 64);
static_assert(std::has_unique_object_representations_v<WireHello>, "padding on the wire");

struct Hello {
  Stream stream = Stream::kAnchor;
  Ticket ticket{};
  uint64_t sender_incarnation = 0;
  uint64_t receiver_incarnation = 0;
  friend bool operator==(const Hello&, const Hello&) = default;
};
inline constexpr size_t kHelloBytes = sizeof(WireHello);
using HelloBytes = std::array<std::byte, kHelloBytes>;

HelloBytes EncodeHello(const Hello& hello);
absl::StatusOr<Hello> ParseHello(
    std::span<const std::byte, kHelloBytes> bytes);  // errors as ParseFrameHeader

// The listener's answer. Anything but kAccepted is followed by the end of the connection.
enum class HelloResult : uint16_t {
  kAccepted = 0,
  kBadTicket = 1,         // unknown, expired or used up for this stream
  kOtherIncarnation = 2,  // the ticket was for, or of, an earlier start of a server
  kOtherVersion = 3,
};
struct WireHelloReply {
  uint32_t magic;
  uint16_t version;
  uint16_t result;
  uint64_t checksum;  // XXH3 of the 8 bytes before it
};
static_assert(sizeof(WireHelloReply) == 16);
static_assert(std::has_unique_object_representations_v<WireHelloReply>, "padding on the wire");
inline constexpr size_t kReplyBytes = sizeof(WireHelloReply);
using ReplyBytes = std::array<std::byte, kReplyBytes>;

ReplyBytes EncodeHelloReply(HelloResult result);
// The peer's verdict as a status: OK, PERMISSION_DENIED (ticket), FAILED_PRECONDITION
// (incarnation), UNIMPLEMENTED (version), DATA_LOSS (not a reply).
absl::Status ParseHelloReply(std::span<const std::byte, kReplyBytes> bytes);

}  // namespace lynx
