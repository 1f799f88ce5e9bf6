// Fills a sequence's KV cache with noise: attention takes as long as over real keys and values.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels/ops.h"
#include "model/kv_sequence.h"

namespace lynx::bench {

class KvFiller {
 public:
  KvFiller(const KvGeometry& geometry, const Kernels& kernels);

  // Positions [0, tokens), in every layer: code pages by the real split, the rest as BF16.
  void Fill(int64_t tokens, KvSequence* kv) const;

 private:
  void FillCodePage(int layer, int64_t page, KvSequence* kv) const;

  const KvGeometry geometry_;
  const Kernels& kernels_;
  std::vector<std::byte> page_;            // one BF16 page of noise
  mutable std::vector<std::byte> unused_;  // Residuals that the geometry has no place for
};

}  // namespace lynx::bench
