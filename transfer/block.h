// Names on the data plane: transfers, sessions, blocks. A block is opaque bytes with a place:
// (layer, kind, page).
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>

namespace lynx {

// The numbers are on the wire (docs/wire-format.md): never renumber.
enum class BlockKind : uint8_t {
  kAnchorPage = 0,
  kResidualPage = 1,
  kTailPage = 2,  // length known only by its frame; one page a frame; may be empty
  kRawPage = 3,   // a page in BF16: could not be coded, or a baseline in one piece
  kSinks = 4,     // the prompt's first tokens, packed; page 0
  kPartial = 5,   // the prompt's last, incomplete page, packed
};
inline constexpr int kBlockKinds = 6;
const char* BlockKindName(BlockKind kind);

// One TCP connection each.
enum class Stream : uint8_t { kAnchor = 0, kResidual = 1 };
inline constexpr int kStreams = 2;

// Within a request: Anchor before Residual before Tail. The Tail travels on the Residual's stream.
enum class BlockClass : uint8_t { kAnchor = 0, kResidual = 1, kTail = 2 };
inline constexpr int kBlockClasses = 3;
// As metrics and traces call them.
inline constexpr const char* kBlockClassNames[kBlockClasses] = {"anchor", "residual", "tail"};

constexpr BlockClass ClassOf(BlockKind kind) {
  if (kind == BlockKind::kResidualPage) return BlockClass::kResidual;
  if (kind == BlockKind::kTailPage) return BlockClass::kTail;
  return BlockClass::kAnchor;
}
constexpr Stream StreamOf(BlockClass c) {
  return c == BlockClass::kAnchor ? Stream::kAnchor : Stream::kResidual;
}

struct BlockId {
  uint32_t layer = 0;
  BlockKind kind = BlockKind::kAnchorPage;
  uint32_t page = 0;
  // Layer order, then kind, then page: the order of sending within a class.
  friend auto operator<=>(const BlockId&, const BlockId&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const BlockId& id) {
    return H::combine(std::move(h), id.layer, id.kind, id.page);
  }
};

// Random, new for each request; chosen by the receiver.
struct TransferId {
  std::array<uint8_t, 16> bytes{};
  friend auto operator<=>(const TransferId&, const TransferId&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const TransferId& id) {
    return H::combine(std::move(h), id.bytes);
  }
};

// One attempt at a transfer: the epoch grows with each attempt.
struct TransferKey {
  TransferId id;
  uint32_t epoch = 0;
  friend auto operator<=>(const TransferKey&, const TransferKey&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const TransferKey& key) {
    return H::combine(std::move(h), key.id, key.epoch);
  }
};
std::string ToString(const TransferKey& key);  // "0123...ef/epoch", for logs and messages

// A pair of connections (both streams) to one peer. Local to a process, never used twice.
enum class SessionId : uint64_t {};

// A block at the sender. The memory is the caller's (Sender says until when).
struct BlockData {
  BlockId id;
  std::span<const std::byte> bytes;
};

}  // namespace lynx
