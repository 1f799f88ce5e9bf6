#include "model/tensor_loader.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>

#include "model/dequantize.h"
#include "model/quoted.h"

namespace lynx {

absl::StatusOr<const ModelTensor*> TensorLoader::Find(const std::string& name,
                                                      const std::vector<int64_t>& shape) {
  auto it = source_.tensors.find(name);
  if (it == source_.tensors.end()) {
    return absl::NotFoundError(
        absl::StrCat("tensor ", Quoted(name), " of shape ", ShapeString(shape), " is missing"));
  }
  const ModelTensor& tensor = *it->second;
  if (tensor.shape != shape) {
    return absl::InvalidArgumentError(absl::StrCat("tensor ", Quoted(name), " has shape ",
                                                   ShapeString(tensor.shape), ", wanted ",
                                                   ShapeString(shape)));
  }
  if (!CanDequantize(tensor.type)) {
    return absl::UnimplementedError(absl::StrCat("tensor ", Quoted(name), " has type ",
                                                 std::string(FindGgmlType(tensor.type)->name),
                                                 ", which is not supported"));
  }
  read_.insert(it->first);
  return &tensor;
}

int64_t TensorLoader::SourceRow(int64_t row, int64_t rows, int64_t heads) const {
  if (heads == 0 || !source_.interleaved_rope) return row;
  const int64_t head_dim = rows / heads;
  const int64_t half = head_dim / 2;
  const int64_t within = row % head_dim;
  return row - within + within % half * 2 + within / half;
}

void TensorLoader::ReadRows(const ModelTensor& matrix, int64_t heads, int64_t row_begin,
                            std::span<bf16> out) {
  const int64_t rows = matrix.shape[0];
  const auto columns = static_cast<size_t>(matrix.shape[1]);
  const size_t row_bytes = matrix.data.size() / static_cast<size_t>(rows);
  uint64_t rounded = 0;
  for (int64_t i = 0; i < static_cast<int64_t>(out.size() / columns); ++i) {
    const auto from = static_cast<size_t>(SourceRow(row_begin + i, rows, heads));
    rounded += DequantizeToBf16(matrix.type, matrix.data.subspan(from * row_bytes, row_bytes),
                                out.subspan(static_cast<size_t>(i) * columns, columns));
  }
  absl::MutexLock lock(&mu_);
  rounding_[matrix.type].values += out.size();
  rounding_[matrix.type].rounded += rounded;
}

absl::StatusOr<std::vector<float>> TensorLoader::ReadVector(const std::string& name, int64_t size,
                                                            int64_t heads) {
  ASSIGN_OR_RETURN(const ModelTensor* tensor, Find(name, {size}));
  std::vector<float> values(static_cast<size_t>(size));
  DequantizeToFloat(tensor->type, tensor->data, values);
  if (!std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); }))
    return absl::InvalidArgumentError(absl::StrCat("tensor ", Quoted(name), " holds Inf or NaN"));
  std::vector<float> out(values.size());
  for (int64_t i = 0; i < size; ++i)
    out[static_cast<size_t>(i)] = values[static_cast<size_t>(SourceRow(i, size, heads))];
  return out;
}

absl::Status TensorLoader::CheckAllRead() const {
  for (const auto& [name, tensor] : source_.tensors) {
    if (read_.contains(name) || source_.ignored.contains(std::string(name))) continue;
    return absl::InvalidArgumentError(absl::StrCat("tensor ", Quoted(name), " of shape ",
                                                   ShapeString(tensor->shape),
                                                   " has no place in such a model"));
  }
  return absl::OkStatus();
}

void TensorLoader::LogRounding() const {
  absl::MutexLock lock(&mu_);
  for (const auto& [type, rounding] : rounding_) {
    if (rounding.rounded == 0) continue;
    spdlog::info("weights_rounded type={} held_as=BF16 values={} rounded={}",
                 FindGgmlType(type)->name, rounding.values, rounding.rounded);
  }
}

}  // namespace lynx
