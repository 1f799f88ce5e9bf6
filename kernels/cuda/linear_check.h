// The start-up check of a product: is a row's result the same, bit for bit, in every batch that a
// phase may make and at every place in it?
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "kernels/cuda/linear.h"
#include "runtime/status.h"

namespace lynx::cuda {

// A batch: which of the check's input rows stand in it, in order.
using RowOrder = std::vector<int64_t>;

// Decoding and verification: 1, 2, 5, 16, 65 and 130 rows out of 130, each row in several places.
std::vector<RowOrder> DecodeBatches();
// Prefill: `rows` rows at once, and cut into chunks in several ways.
std::vector<RowOrder> PrefillBatches(int64_t rows);

using LinearProduct = absl::FunctionRef<absl::Status(const LinearArgs& args)>;

// Runs all batches (row numbers below `rows`) over random inputs and compares every row with the
// result of all rows in order. FAILED_PRECONDITION names n, k and the rows of the batch that
// differs; an error of `product` is returned with the same words before it. Allocates and
// synchronizes.
absl::Status CheckStable(LinearProduct product, int64_t n, int64_t k, int64_t rows,
                         const std::vector<RowOrder>& batches, cudaStream_t stream);

}  // namespace lynx::cuda
