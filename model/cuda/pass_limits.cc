#include "model/cuda/pass_limits.h"

#include <algorithm>
#include <bit>

#include "kernels/attention.h"
#include "kernels/cuda/attention.h"
#include "model/kv_pool.h"

namespace lynx::cuda {
namespace {

// One launch of so many items fills every GPU many times over, so that cutting larger passes into
// several launches costs nothing.
constexpr int64_t kLaunchItems = 2048;
constexpr int64_t kLeastGranule = 8;

// The smallest form in which KV memory holds a page: the baseline of 4 bits.
size_t LeastPageBytes(const ModelConfig& c) {
  const KvShape shape{static_cast<int>(c.kv_heads), static_cast<int>(c.head_dim)};
  return KvPool::RoundUp(AnchorBlockBytes(shape, {4, 4}));
}

}  // namespace

PassLimits PassLimitsOf(const ModelConfig& c, int64_t rows_max, size_t kv_bytes) {
  PassLimits limits{.rows = rows_max};
  limits.pages = std::max(c.layers, static_cast<int64_t>(kv_bytes / LeastPageBytes(c)));
  const int64_t group = c.q_heads / c.kv_heads;
  limits.tiles = rows_max * ((group + kAttentionTileRows - 1) / kAttentionTileRows);
  const int64_t sequence_pages = limits.pages / c.layers;
  limits.tile_items = (sequence_pages + kAttentionSplitPages - 1) / kAttentionSplitPages;
  limits.launch_items =
      std::max(limits.tile_items, std::min(kLaunchItems, limits.tiles * limits.tile_items));
  return limits;
}

int64_t PaddedItems(int64_t count, int64_t limit) {
  const auto power = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(count)));
  const int64_t granule = std::max(kLeastGranule, power / 4);
  return std::min(limit, (count + granule - 1) / granule * granule);
}

}  // namespace lynx::cuda
