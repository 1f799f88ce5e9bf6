// Finds tensors by name, checks type and shape, and converts rows to BF16 or float.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "model/tensor_source.h"
#include "runtime/bf16.h"
#include "runtime/status.h"

namespace lynx {

// For one load, on one thread but for ReadRows. `source` outlives it.
class TensorLoader {
 public:
  explicit TensorLoader(const TensorSource& source) : source_(source) {}

  // The matrix `name` of exactly [rows, columns], of a type that can be converted.
  absl::StatusOr<const ModelTensor*> FindMatrix(const std::string& name, int64_t rows,
                                                int64_t columns) {
    return Find(name, {rows, columns});
  }

  // Rows from `row_begin` on, as many as `out` holds. heads > 0: the matrix is `heads` heads of Q
  // or K, whose rows are put into the order of halves if the source interleaves them. Any thread.
  void ReadRows(const ModelTensor& matrix, int64_t heads, int64_t row_begin, std::span<bf16> out)
      ABSL_LOCKS_EXCLUDED(mu_);

  // The vector `name` of `size` values; `heads` as above. Inf and NaN are refused.
  absl::StatusOr<std::vector<float>> ReadVector(const std::string& name, int64_t size,
                                                int64_t heads);

  // INVALID_ARGUMENT that names a tensor which was not read and is not to be ignored, if there is
  // one.
  absl::Status CheckAllRead() const;

  // One line for each type that lost precision.
  void LogRounding() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Rounding {
    uint64_t values = 0;
    uint64_t rounded = 0;
  };

  absl::StatusOr<const ModelTensor*> Find(const std::string& name,
                                          const std::vector<int64_t>& shape);
  // Where row `row` of the wanted order stands in the file.
  int64_t SourceRow(int64_t row, int64_t rows, int64_t heads) const;

  const TensorSource& source_;
  std::unordered_set<std::string_view> read_;

  mutable absl::Mutex mu_;
  std::map<GgmlType, Rounding> rounding_ ABSL_GUARDED_BY(mu_);
};

}  // namespace lynx
