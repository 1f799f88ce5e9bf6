#include "model/weights.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "model/weights_reader.h"

namespace lynx {
namespace {

// Packs what is read.
class Packer final : public WeightsOut {
 public:
  explicit Packer(Weights* weights) : weights_(*weights) {}

  absl::Status BeginMatrix(MatrixRole role, int64_t layer, int64_t rows, int64_t columns) override {
    packed_ = nullptr;
    if (role == MatrixRole::kTokenEmbedding) {
      weights_.token_embedding = AlignedBuffer<bf16>(static_cast<size_t>(rows * columns));
    } else {
      packed_ = &MatrixOf(role, layer);
      *packed_ = PackedWeights(rows, columns, weights_.memory);
    }
    columns_ = columns;
    return absl::OkStatus();
  }
  int64_t BatchValuesMax() const override { return std::numeric_limits<int64_t>::max(); }
  absl::StatusOr<std::span<bf16>> Room(int64_t values) override {
    rows_.resize(static_cast<size_t>(values));
    return std::span<bf16>(rows_);
  }
  void PutPiece(int64_t first_row, int64_t count, const bf16* rows) override {
    if (packed_ != nullptr) return packed_->SetRows(first_row, count, rows);
    std::copy_n(rows, count * columns_, weights_.token_embedding.data() + first_row * columns_);
  }
  absl::Status PutBatch(int64_t, std::span<const bf16>) override { return absl::OkStatus(); }
  absl::Status PutVector(VectorRole role, int64_t layer, std::span<const float> values) override {
    VectorOf(role, layer).assign(values.begin(), values.end());
    return absl::OkStatus();
  }

 private:
  LayerWeights& LayerAt(int64_t layer) {
    if (layer == static_cast<int64_t>(weights_.layers.size())) weights_.layers.emplace_back();
    return weights_.layers[static_cast<size_t>(layer)];
  }
  PackedWeights& MatrixOf(MatrixRole role, int64_t layer) {
    switch (role) {
      case MatrixRole::kQkv:
        return LayerAt(layer).qkv;
      case MatrixRole::kAttentionOutput:
        return LayerAt(layer).attention_output;
      case MatrixRole::kGateUp:
        return LayerAt(layer).gate_up;
      case MatrixRole::kDown:
        return LayerAt(layer).down;
      default:
        return weights_.lm_head;
    }
  }
  std::vector<float>& VectorOf(VectorRole role, int64_t layer) {
    switch (role) {
      case VectorRole::kAttentionNorm:
        return LayerAt(layer).attention_norm;
      case VectorRole::kQkvBias:
        return LayerAt(layer).qkv_bias;
      case VectorRole::kFfnNorm:
        return LayerAt(layer).ffn_norm;
      default:
        return weights_.final_norm;
    }
  }

  Weights& weights_;
  PackedWeights* packed_ = nullptr;  // the matrix that is being read; null: the embedding
  int64_t columns_ = 0;              // of it
  std::vector<bf16> rows_;           // the batch
};

using GetRow = absl::FunctionRef<void(int64_t row, bf16* to)>;

// Puts rows that GetRow gives.
absl::Status PutMatrix(MatrixRole role, int64_t layer, int64_t rows, int64_t columns, GetRow row_of,
                       WeightsOut& out) {
  RETURN_IF_ERROR(out.BeginMatrix(role, layer, rows, columns));
  const int64_t batch =
      out.BatchValuesMax() / (columns * kPanelColumns) * kPanelColumns;  // whole panels
  for (int64_t begin = 0; begin < rows; begin += batch) {
    const int64_t count = std::min(batch, rows - begin);
    ASSIGN_OR_RETURN(const std::span<bf16> room, out.Room(count * columns));
    for (int64_t i = 0; i < count; ++i) row_of(begin + i, room.data() + i * columns);
    out.PutPiece(begin, count, room.data());
    RETURN_IF_ERROR(out.PutBatch(begin, room));
  }
  return absl::OkStatus();
}

absl::Status PutPacked(MatrixRole role, int64_t layer, const PackedWeights& matrix,
                       WeightsOut& out) {
  return PutMatrix(
      role, layer, matrix.n(), matrix.k(), [&](int64_t row, bf16* to) { matrix.GetRow(row, to); },
      out);
}

absl::Status PutLayer(int64_t i, const LayerWeights& layer, WeightsOut& out) {
  RETURN_IF_ERROR(out.PutVector(VectorRole::kAttentionNorm, i, layer.attention_norm));
  RETURN_IF_ERROR(PutPacked(MatrixRole::kQkv, i, layer.qkv, out));
  if (!layer.qkv_bias.empty()) {
    RETURN_IF_ERROR(out.PutVector(VectorRole::kQkvBias, i, layer.qkv_bias));
  }
  RETURN_IF_ERROR(PutPacked(MatrixRole::kAttentionOutput, i, layer.attention_output, out));
  RETURN_IF_ERROR(out.PutVector(VectorRole::kFfnNorm, i, layer.ffn_norm));
  RETURN_IF_ERROR(PutPacked(MatrixRole::kGateUp, i, layer.gate_up, out));
  return PutPacked(MatrixRole::kDown, i, layer.down, out);
}

}  // namespace

absl::StatusOr<Weights> LoadWeights(const ModelConfig& config, const TensorSource& source,
                                    int threads) {
  Weights weights;
  Packer packer(&weights);
  ASSIGN_OR_RETURN(weights.hash, ReadWeights(config, source, threads, packer));
  return weights;
}

absl::Status PutWeights(const Weights& weights, WeightsOut& out) {
  const int64_t columns = weights.lm_head.k();
  const auto embedding = std::as_const(weights.token_embedding).span();
  if (!embedding.empty()) {
    RETURN_IF_ERROR(PutMatrix(
        MatrixRole::kTokenEmbedding, 0, static_cast<int64_t>(embedding.size()) / columns, columns,
        [&](int64_t row, bf16* to) { std::copy_n(embedding.data() + row * columns, columns, to); },
        out));
  }
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    RETURN_IF_ERROR(PutLayer(static_cast<int64_t>(i), weights.layers[i], out));
  }
  RETURN_IF_ERROR(out.PutVector(VectorRole::kFinalNorm, 0, weights.final_norm));
  return PutPacked(MatrixRole::kLmHead, 0, weights.lm_head, out);
}

}  // namespace lynx
