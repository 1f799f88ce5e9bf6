// What a prompt's KV costs on the wire with the bf16 target.
#pragma once

#include <cstdint>

#include "kernels/ops.h"
#include "model/kv_sequence.h"

namespace lynx::bench {

struct LosslessBytes {
  int64_t values = 0;  // numbers of K and V
  int64_t code = 0;    // Anchor and Residual
  int64_t tail = 0;
  int64_t bf16 = 0;  // sinks, partial pages, pages that cannot be coded

  double bits_per_value() const {
    return 8.0 * static_cast<double>(code + tail + bf16) / static_cast<double>(values);
  }
};

// Adds a prompt's of `tokens` tokens, which `prefilled` holds in BF16. The split moves bits between
// Anchor and Residual only, so its choice says nothing here.
void AddLosslessBytes(KvSequence& prefilled, int64_t tokens, const Kernels& kernels,
                      LosslessBytes* to);

}  // namespace lynx::bench
