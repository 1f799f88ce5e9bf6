// Weights in the order that gemm reads them: panels of 64 outputs, [ceil(n/64)][ceil(k/2)][64][2],
// zero-padded.
#pragma once

#include <cstdint>

#include "kernels/ops.h"
#include "runtime/bf16.h"
#include "runtime/huge_page_arena.h"

namespace lynx {

// The packed weights of one product, in an arena's memory. Several matrices over the same input may
// be stacked along n (Q, K and V; gate and up), so that one product makes them all. Filled a range
// of rows at a time, so that a loader can convert a tensor piece by piece; different ranges may be
// filled by different threads if they share no panel.
class PackedWeights {
 public:
  PackedWeights() = default;
  // n, k > 0. All weights are zero. Valid while `memory` lives.
  PackedWeights(int64_t n, int64_t k, HugePageArena& memory);

  // Rows [row_begin, row_begin + count) of the stack, rows[count, k] row-major. The range must lie
  // inside n.
  void SetRows(int64_t row_begin, int64_t count, const bf16* rows);

  // The inverse for one row, row[k].
  void GetRow(int64_t index, bf16* row) const;

  PackedMatrix view() const { return {data_, n_, k_}; }
  int64_t n() const { return n_; }
  int64_t k() const { return k_; }
  int64_t bytes() const;

 private:
  bf16* data_ = nullptr;
  int64_t n_ = 0;
  int64_t k_ = 0;
};

}  // namespace lynx
