#include "runtime/huge_page_arena.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdint>
#include <random>
#include <utility>

namespace lynx {
namespace {

TEST_CASE("arena memory is zero, aligned and never shared") {
  std::mt19937 rng(5);
  HugePageArena arena;
  std::vector<std::span<std::byte>> blocks;
  // Many of the sizes that fill a chunk unevenly, and one that no chunk holds.
  for (int i = 0; i < 400; ++i) {
    const size_t bytes = i == 200 ? (size_t{65} << 20) + 1 : 1 + rng() % (size_t{1} << 19);
    std::span<std::byte> block(arena.Allocate(bytes), bytes);
    CHECK(reinterpret_cast<uintptr_t>(block.data()) % 64 == 0);
    const auto zero = [](std::byte b) { return b == std::byte{0}; };
    CHECK(std::all_of(block.begin(), block.end(), zero));
    std::fill(block.begin(), block.end(), static_cast<std::byte>(1 + i % 255));
    blocks.push_back(block);
  }
  const HugePageArena moved = std::move(arena);
  for (int i = 0; i < 400; ++i) {
    const auto mine = [i](std::byte b) { return b == static_cast<std::byte>(1 + i % 255); };
    CHECK(std::all_of(blocks[i].begin(), blocks[i].end(), mine));
  }
}

}  // namespace
}  // namespace lynx
