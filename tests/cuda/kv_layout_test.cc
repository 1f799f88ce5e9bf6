// The layout of pages is a bijection into the bytes that the block sizes say, and fragments come
// out of words as documented.
#include <catch2/catch.hpp>
#include <vector>

#include "kernels/cuda/kv_layout_inl.h"

namespace lynx::cuda {
namespace {

TEST_CASE("a BF16 page holds every element once") {
  const KvShape shape{3, 64};
  std::vector<int> used(Bf16PageBytes(shape) / sizeof(bf16));
  for (KvSide side : {KvSide::kKey, KvSide::kValue}) {
    for (int head = 0; head < shape.kv_heads; ++head) {
      for (int t = 0; t < kPageTokens; ++t) {
        for (int c = 0; c < shape.head_dim; ++c) ++used.at(Bf16Index(shape, side, head, t, c));
      }
    }
  }
  CHECK(used == std::vector<int>(used.size(), 1));
}

TEST_CASE("a packed token holds every element once") {
  const KvShape shape{3, 64};
  std::vector<int> used(PackedTokenBytes(shape) / sizeof(bf16));
  for (KvSide side : {KvSide::kKey, KvSide::kValue}) {
    for (int head = 0; head < shape.kv_heads; ++head) {
      for (int c = 0; c < shape.head_dim; ++c) ++used.at(PackedIndex(shape, side, head, c));
    }
  }
  CHECK(used == std::vector<int>(used.size(), 1));
}

TEST_CASE("a sub-plane holds every code's bits once") {
  const int head_dim = GENERATE(64, 128, 256);
  const int width = GENERATE(1, 2, 4, 8);
  const KvSide side = GENERATE(KvSide::kKey, KvSide::kValue);
  CHECK(static_cast<size_t>(CodePlaneBytes(head_dim, width)) == PlaneBytes(head_dim, side, width));
  std::vector<int> used(static_cast<size_t>(CodePlaneBytes(head_dim, width)) * 8);
  for (int t = 0; t < kPageTokens; ++t) {
    for (int c = 0; c < head_dim; ++c) {
      const int bit = CodeBit(head_dim, side, width, t, c);
      for (int i = 0; i < width; ++i) ++used.at(static_cast<size_t>(bit + i));
    }
  }
  CHECK(used == std::vector<int>(used.size(), 1));
}

TEST_CASE("a place and its element find each other") {
  const int head_dim = GENERATE(64, 128, 256);
  const KvSide side = GENERATE(KvSide::kKey, KvSide::kValue);
  bool same = true;
  for (int t = 0; t < kPageTokens; ++t) {
    for (int c = 0; c < head_dim; ++c) {
      const CodePlace place = PlaceOf(head_dim, side, t, c);
      const CodeElement element = ElementOf(head_dim, side, place);
      same = same && element.token == t && element.channel == c && place.warp >= 0 &&
             place.warp < kPlaneWarps && place.group < head_dim / 64;
    }
  }
  CHECK(same);
}

TEST_CASE("the blocks' parts begin on 16 bytes") {
  const KvShape shape{2, GENERATE(64, 128, 256)};
  const KvSplit split{GENERATE(range(3, 9)), GENERATE(range(3, 9))};
  const std::vector<std::byte> block(AnchorBlockBytes(shape, split));
  const std::byte* base = block.data();
  const auto offset = [&](const std::byte* p) { return static_cast<size_t>(p - base); };
  size_t misaligned = 0;
  for (KvSide side : {KvSide::kKey, KvSide::kValue}) {
    const CodePart part = FindCodePart(shape, split, 1, side, base, nullptr);
    misaligned += offset(part.lo) % 16 + offset(part.k) % 16 + offset(part.anchor) % 16;
  }
  misaligned += AnchorBlockBytes(shape, split) % 16 + ResidualBlockBytes(shape, split) % 16;
  CHECK(misaligned == 0);
}

}  // namespace
}  // namespace lynx::cuda
