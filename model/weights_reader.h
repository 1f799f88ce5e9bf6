// Reads a model's weights from a file into whatever takes them.
#pragma once

#include "model/model_config.h"
#include "model/tensor_source.h"
#include "model/weights_hash.h"
#include "model/weights_out.h"
#include "runtime/status.h"

namespace lynx {

// Converts what `source` holds and puts it into `out`, in the order of Weights' fields; `out` is
// called on a thread of the reader's. `config` is valid. An error names the tensor that is missing,
// has another shape (wanted and found), has a type that is not supported, or is not expected in
// such a model, or is `out`'s. Rounding to BF16 is logged, one line a type. The result is the same
// for every number of threads.
absl::StatusOr<WeightsHash> ReadWeights(const ModelConfig& config, const TensorSource& source,
                                        int threads, WeightsOut& out);

}  // namespace lynx
