// Where a model's weights go while they are read: packed for the CPU, or onto a device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/functional/function_ref.h"
#include "runtime/bf16.h"
#include "runtime/status.h"

namespace lynx {

enum class MatrixRole : uint8_t {
  kTokenEmbedding,   // [vocab, hidden], if the head is another matrix
  kQkv,              // [(q_heads + 2 * kv_heads) * head_dim, hidden]: rows of Q, then K, then V
  kAttentionOutput,  // [hidden, q_heads * head_dim]
  kGateUp,           // [2 * intermediate, hidden]: rows of gate, then up
  kDown,             // [hidden, intermediate]
  kLmHead,           // [vocab, hidden]; its rows are the embedding too if they are tied
};
enum class VectorRole : uint8_t { kAttentionNorm, kQkvBias, kFfnNorm, kFinalNorm };

// Rows come in order, batch by batch: the reader asks for room, fills it, and puts it. One thread,
// but for PutPiece.
class WeightsOut {
 public:
  virtual ~WeightsOut() = default;

  // [rows, columns] of BF16 from here on. `layer` counts from 0; 0 for what belongs to no layer.
  virtual absl::Status BeginMatrix(MatrixRole role, int64_t layer, int64_t rows,
                                   int64_t columns) = 0;
  // Values that one batch may have at most: 64 rows of the matrix at least.
  virtual int64_t BatchValuesMax() const = 0;
  // Memory for the next batch, until it is put.
  virtual absl::StatusOr<std::span<bf16>> Room(int64_t values) = 0;
  // A piece of the batch is filled: rows[count, columns] stands for rows [first_row, first_row +
  // count) of the matrix. Any thread; pieces share no 64 rows (PackedWeights).
  virtual void PutPiece(int64_t first_row, int64_t count, const bf16* rows) = 0;
  // The whole batch is filled; it begins with `first_row`.
  virtual absl::Status PutBatch(int64_t first_row, std::span<const bf16> rows) = 0;
  // `values` may be gone after the call.
  virtual absl::Status PutVector(VectorRole role, int64_t layer, std::span<const float> values) = 0;
};

// Puts all of a model's weights into `out`: those of a file, or loaded ones.
using FeedWeights = absl::FunctionRef<absl::Status(WeightsOut& out)>;

}  // namespace lynx
