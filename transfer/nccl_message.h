// What the two ends of an NCCL channel tell each other beside the payload, over one TCP connection.
// The grammar stands in docs/wire-format.md. All integers are little-endian.
//
// Why a connection of its own, and not the control plane's calls: announcements and credits pass in
// the order of the operations and within a round trip of them; a peer's death shows here within
// milliseconds and for the session it belongs to; and tickets, strangers and session events are
// then the same as on TCP.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "runtime/status.h"
#include "transfer/block.h"
#include "transfer/frame.h"

namespace lynx {

inline constexpr uint16_t kNcclWireVersion = 1;
inline constexpr uint32_t kNcclMagic = 0x434e594c;  // "LYNC"
inline constexpr size_t kNcclMaxBodyBytes = 512;
inline constexpr size_t kNcclIdBytes = 128;

enum class NcclMessageType : uint16_t {
  kHello = 1,     // receiver, first
  kOpen = 2,      // sender: accepted; ids of both communicators
  kWarmUp = 3,    // sender: an operation of kWarmUpBytes that carries nothing
  kAnnounce = 4,  // sender: an operation that carries a frame
  kCredit = 5,    // receiver: the operation's recv is posted
  kEnded = 6,     // receiver: the operation's bytes are in; it may be followed by another one
  kFail = 7,      // either: the session is over, and why
};

struct WireNcclHeader {
  uint32_t magic;
  uint16_t version;
  uint16_t type;
  uint32_t body_bytes;
  uint32_t argument;  // kWarmUp, kAnnounce: the stream; kFail: an absl::StatusCode; else 0
  uint64_t sequence;  // of the operation, from 1 in each session; else 0
  uint64_t checksum;  // XXH3 of the 24 bytes before it and of the body
};
static_assert(sizeof(WireNcclHeader) == 32);
static_assert(std::has_unique_object_representations_v<WireNcclHeader>, "padding on the wire");
inline constexpr size_t kNcclHeaderBytes = sizeof(WireNcclHeader);

struct NcclHello {
  Ticket ticket;
  uint64_t sender_incarnation;
  uint64_t receiver_incarnation;
  uint64_t max_operation_bytes;   // that the receiver takes
  uint16_t operations_in_flight;  // that it takes on each stream
  uint16_t wants_checksums;       // 1: of every payload, in the announced header; 0: none
  uint32_t nccl_version;
};
static_assert(sizeof(NcclHello) == 64);
static_assert(std::has_unique_object_representations_v<NcclHello>, "padding on the wire");

struct NcclOpen {
  std::array<std::array<char, kNcclIdBytes>, kStreams> ids;  // unique ids, by Stream
};
static_assert(sizeof(NcclOpen) == 256);

// Which blocks of a frame lie behind one another in memory: bit i, block i + 1 follows block i.
// Announced as the sender has it, granted as both have it: so both cut the same pieces.
using NcclJoins = std::vector<bool>;  // [page_count]; the last is false

struct NcclMessage {
  NcclMessageType type = NcclMessageType::kFail;
  uint32_t argument = 0;
  uint64_t sequence = 0;
  std::vector<std::byte> body{};
};

std::vector<std::byte> EncodeNcclMessage(const NcclMessage& message);

// The length of the whole message that begins so. DATA_LOSS: not a message; UNIMPLEMENTED: another
// version's.
absl::StatusOr<size_t> NcclMessageBytes(std::span<const std::byte, kNcclHeaderBytes> header);
// Of exactly one whole message. DATA_LOSS: damaged.
absl::StatusOr<NcclMessage> ParseNcclMessage(std::span<const std::byte> bytes);

NcclMessage MakeNcclHello(const NcclHello& hello);
absl::StatusOr<NcclHello> ParseNcclHello(const NcclMessage& message);
NcclMessage MakeNcclOpen(const NcclOpen& open);
absl::StatusOr<NcclOpen> ParseNcclOpen(const NcclMessage& message);
NcclMessage MakeNcclFail(const absl::Status& status);
absl::Status ParseNcclFail(const NcclMessage& message);  // the peer's reason; never OK

struct NcclAnnounce {
  FrameHeader header;
  NcclJoins joins;
};
NcclMessage MakeNcclAnnounce(uint64_t sequence, const NcclAnnounce& announce);
absl::StatusOr<NcclAnnounce> ParseNcclAnnounce(const NcclMessage& message);
NcclMessage MakeNcclCredit(uint64_t sequence, const NcclJoins& joins);
// INVALID_ARGUMENT: not of `blocks` blocks.
absl::StatusOr<NcclJoins> ParseNcclCredit(const NcclMessage& message, size_t blocks);

}  // namespace lynx
