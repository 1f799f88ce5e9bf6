// How large passes can become. What a pass needs of memory is taken at the start for the largest.
#pragma once

#include <cstddef>
#include <cstdint>

#include "model/model_config.h"

namespace lynx::cuda {

struct PassLimits {
  int64_t rows = 0;          // of a pass, so that it has no more sequences either
  int64_t pages = 0;         // in KV memory, counted over layers and sequences
  int64_t tiles = 0;         // of attention (kernels/cuda/attention.h), in a pass
  int64_t tile_items = 0;    // of one tile, whose sequence takes all of KV memory
  int64_t launch_items = 0;  // of one launch of attention: what partial results are kept for
};

// Of passes of at most rows_max rows, over sequences whose pages lie in kv_bytes of device memory.
PassLimits PassLimitsOf(const ModelConfig& config, int64_t rows_max, size_t kv_bytes);

// Items that a launch of `count` items is made for, at most `limit` (>= count): rounded up by less
// than a quarter, so that a batch whose contexts grow keeps its launches for many steps.
int64_t PaddedItems(int64_t count, int64_t limit);

}  // namespace lynx::cuda
