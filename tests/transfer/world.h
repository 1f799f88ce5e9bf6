// A transfer for tests: blocks with known bytes at one side, guarded memory at the other.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <map>
#include <set>
#include <vector>

#include "transfer/receiver.h"
#include "transfer/sender.h"

namespace lynx {

struct WorldShape {
  uint32_t layers = 3;
  uint32_t pages = 5;
  uint64_t anchor_bytes = 1000;
  uint64_t residual_bytes = 700;
  uint64_t tail_room = 300;  // 0: no Tails
};

// The bytes of a block follow from the transfer and its id alone.
inline std::byte ContentAt(const TransferKey& key, const BlockId& id, size_t i) {
  uint64_t x = key.id.bytes[0] * 1000003u + key.epoch * 777u + id.layer * 10007u +
               static_cast<uint64_t>(id.kind) * 131u + id.page * 31u + i * 2654435761u;
  return std::byte((x >> 3) ^ (x >> 17));
}

class World {
 public:
  static constexpr size_t kGuardBytes = 64;
  static constexpr std::byte kGuard{0xdb};

  World(uint8_t name, WorldShape shape, uint32_t epoch = 1) : shape_(shape) {
    key.id.bytes[0] = name;
    key.id.bytes[15] = 0x5a;
    key.epoch = epoch;
    for (uint32_t layer = 0; layer < shape.layers; ++layer) {
      for (uint32_t page = 0; page < shape.pages; ++page) {
        Make({layer, BlockKind::kAnchorPage, page}, shape.anchor_bytes, shape.anchor_bytes);
        Make({layer, BlockKind::kResidualPage, page}, shape.residual_bytes, shape.residual_bytes);
        if (shape.tail_room == 0) continue;
        Make({layer, BlockKind::kTailPage, page}, (layer * 53 + page * 37) % shape.tail_room,
             shape.tail_room);
      }
      Make({layer, BlockKind::kPartial, shape.pages}, 96, 96);
    }
  }

  std::vector<BlockData> Blocks() const {
    std::vector<BlockData> out;
    for (const auto& [id, b] : blocks_) out.push_back({id, b.source});
    return out;
  }
  // As a chunked prefill offers them.
  std::vector<BlockData> BlocksOf(uint32_t layer, uint32_t first_page, uint32_t end_page) const {
    std::vector<BlockData> out;
    for (const auto& [id, b] : blocks_) {
      if (id.layer == layer && id.page >= first_page && id.page < end_page) {
        out.push_back({id, b.source});
      }
    }
    return out;
  }

  std::vector<GrantRange> Ranges() {
    auto range = [&](BlockKind kind, uint32_t first, uint32_t pages, uint64_t bytes) {
      return MakeGrantRange(kind, shape_.layers, first, pages, bytes,
                            [&](uint32_t layer, uint32_t page) {
                              return Memory({layer, kind, page});
                            });
    };
    std::vector<GrantRange> out;
    out.push_back(range(BlockKind::kAnchorPage, 0, shape_.pages, shape_.anchor_bytes));
    out.push_back(range(BlockKind::kResidualPage, 0, shape_.pages, shape_.residual_bytes));
    if (shape_.tail_room > 0) {
      out.push_back(range(BlockKind::kTailPage, 0, shape_.pages, shape_.tail_room));
    }
    out.push_back(range(BlockKind::kPartial, shape_.pages, 1, 96));
    return out;
  }

  std::byte* Memory(const BlockId& id) { return blocks_.at(id).target.data() + kGuardBytes; }

  // Takes over what was published; a block published twice, or never sent so, is a failure.
  void Take(const Completion& c) {
    REQUIRE(c.transfer == key);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < c.pages; ++i) {
      BlockId id{c.layer, c.kind, c.first_page + i};
      REQUIRE(blocks_.contains(id));
      REQUIRE(published_.insert(id).second);
      bytes += blocks_.at(id).source.size();
      REQUIRE(Intact(id));
    }
    REQUIRE(c.bytes == bytes);
  }

  bool complete() const { return published_.size() == blocks_.size(); }
  size_t published() const { return published_.size(); }
  size_t size() const { return blocks_.size(); }
  uint64_t total_bytes() const {
    uint64_t n = 0;
    for (const auto& [id, b] : blocks_) n += b.source.size();
    return n;
  }

  bool Intact(const BlockId& id) {
    const Block& b = blocks_.at(id);
    return std::equal(b.source.begin(), b.source.end(), Memory(id));
  }
  // Nothing outside the blocks was written, and every published block still holds its bytes.
  void CheckMemory() {
    for (auto& [id, b] : blocks_) {
      for (size_t i = 0; i < kGuardBytes; ++i) {
        REQUIRE(b.target[i] == kGuard);
        REQUIRE(b.target[b.target.size() - 1 - i] == kGuard);
      }
      if (published_.contains(id)) REQUIRE(Intact(id));
    }
  }
  // What a freed page's next owner writes.
  void Scribble(std::byte value) {
    for (auto& [id, b] : blocks_) std::fill(b.target.begin(), b.target.end(), value);
  }
  void CheckScribble(std::byte value) {
    for (auto& [id, b] : blocks_) {
      REQUIRE(
          std::all_of(b.target.begin(), b.target.end(), [&](std::byte x) { return x == value; }));
    }
  }
  void ScribbleSource() {
    for (auto& [id, b] : blocks_) std::fill(b.source.begin(), b.source.end(), std::byte{0xee});
  }

  TransferKey key;

 private:
  struct Block {
    std::vector<std::byte> source;
    std::vector<std::byte> target;  // guard, room, guard
  };

  void Make(const BlockId& id, size_t bytes, size_t room) {
    Block b;
    for (size_t i = 0; i < bytes; ++i) b.source.push_back(ContentAt(key, id, i));
    b.target.assign(room + 2 * kGuardBytes, kGuard);
    blocks_[id] = std::move(b);
  }

  WorldShape shape_;
  std::map<BlockId, Block> blocks_;
  std::set<BlockId> published_;
};

}  // namespace lynx
