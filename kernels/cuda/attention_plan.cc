#include <algorithm>

#include "kernels/cuda/attention.h"
#include "runtime/status.h"

namespace lynx::cuda {
namespace {

constexpr int64_t kSplitTokens = int64_t{kAttentionSplitPages} * kPageTokens;

// Splits [begin, end) that some row of a tile sees.
struct SplitRange {
  int64_t begin, end;
};
SplitRange SplitsOf(int64_t first_position, int64_t last_position, int64_t window) {
  const int64_t first_seen = window > 0 ? std::max<int64_t>(0, first_position - window + 1) : 0;
  return {first_seen / kSplitTokens, last_position / kSplitTokens + 1};
}

}  // namespace

void PlanAttention(std::span<const AttentionRows> sequences, int q_heads, int kv_heads,
                   int64_t window, AttentionPlan* plan) {
  plan->tiles.clear();
  plan->items.clear();
  const int64_t group = q_heads / kv_heads;
  for (size_t s = 0; s < sequences.size(); ++s) {
    const AttentionRows& rows = sequences[s];
    const int64_t packed = rows.rows * group;
    for (int64_t begin = 0; begin < packed; begin += kAttentionTileRows) {
      const int64_t last = std::min(begin + kAttentionTileRows, packed) - 1;
      const SplitRange splits =
          SplitsOf(rows.first_position + begin / group, rows.first_position + last / group, window);
      const auto tile = static_cast<int32_t>(plan->tiles.size());
      plan->tiles.push_back({.sequence = static_cast<int32_t>(s),
                             .packed_begin = static_cast<int32_t>(begin),
                             .first_item = static_cast<int32_t>(plan->items.size()),
                             .items = static_cast<int32_t>(splits.end - splits.begin)});
      for (int64_t split = splits.begin; split < splits.end; ++split) {
        plan->items.push_back({.tile = tile, .split = static_cast<int32_t>(split)});
      }
    }
  }
}

void CutAttentionPlan(int64_t items_max, AttentionPlan* plan, std::vector<AttentionPart>* parts) {
  parts->clear();
  for (int32_t t = 0; t < static_cast<int32_t>(plan->tiles.size()); ++t) {
    AttentionTile& tile = plan->tiles[static_cast<size_t>(t)];
    LYNX_CHECK(tile.items <= items_max);
    if (parts->empty() || parts->back().item_count + tile.items > items_max) {
      parts->push_back({.tile_begin = t, .item_begin = tile.first_item});
    }
    AttentionPart& part = parts->back();
    const std::span items(plan->items);
    for (auto& item :
         items.subspan(static_cast<size_t>(tile.first_item), static_cast<size_t>(tile.items))) {
      item.tile = t - part.tile_begin;
    }
    tile.first_item -= part.item_begin;
    part.tile_count += 1;
    part.item_count += tile.items;
  }
}

size_t AttentionPartialFloats(KvShape shape, size_t items) {
  return items * static_cast<size_t>(shape.kv_heads) * kAttentionTileRows *
         (static_cast<size_t>(shape.head_dim) + 2);
}

}  // namespace lynx::cuda
