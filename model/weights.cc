#include "model/weights.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "model/tensor_loader.h"
#include "runtime/thread_pool.h"

namespace lynx {

namespace {

// Of a batch: so many that threads seldom wait for the slowest, so few that they stay in the cache.
constexpr int64_t kPiecesPerThread = 4;

class WeightsBuilder {
 public:
  WeightsBuilder(const ModelConfig& config, const TensorSource& source, ThreadPool& pool)
      : c_(config), names_(*source.names), tensors_(source), pool_(pool), hasher_(config) {}

  absl::StatusOr<Weights> Build() {
    Weights weights;
    RETURN_IF_ERROR(ReadEmbedding(&weights));
    for (int64_t layer = 0; layer < c_.layers; ++layer) {
      prefix_ = absl::StrCat(std::string(names_.layer_prefix), layer, ".");
      LayerWeights& out = weights.layers.emplace_back();
      RETURN_IF_ERROR(ReadAttention(&out));
      RETURN_IF_ERROR(ReadFeedForward(&out));
    }
    RETURN_IF_ERROR(ReadHead(&weights));
    RETURN_IF_ERROR(tensors_.CheckAllRead());
    tensors_.LogRounding();
    weights.hash = hasher_.Finish();
    weights.memory = std::move(memory_);
    return weights;
  }

 private:
  // One tensor's rows inside a fused matrix or bias.
  struct Part {
    std::string name;
    int64_t rows;
    int64_t heads = 0;  // of Q and K, whose rows may have to be reordered
  };

  std::string LayerName(std::string_view name) const { return prefix_ + std::string(name); }

  absl::Status ReadEmbedding(Weights* out) {
    if (c_.tied_embeddings) {
      return ReadMatrices({{std::string(names_.token_embedding), c_.vocab}}, c_.hidden,
                          &out->lm_head);
    }
    ASSIGN_OR_RETURN(const ModelTensor* tensor,
                     tensors_.FindMatrix(std::string(names_.token_embedding), c_.vocab, c_.hidden));
    out->token_embedding = AlignedBuffer<bf16>(static_cast<size_t>(c_.vocab * c_.hidden));
    pool_.ForEach(c_.vocab, [&](int64_t row) {
      const auto columns = static_cast<size_t>(c_.hidden);
      tensors_.ReadRows(*tensor, 0, row,
                        out->token_embedding.span().subspan(row * columns, columns));
    });
    hasher_.Add(std::as_const(out->token_embedding).span());
    return absl::OkStatus();
  }

  absl::Status ReadAttention(LayerWeights* out) {
    const int64_t q_rows = c_.q_heads * c_.head_dim;
    const int64_t kv_rows = c_.kv_heads * c_.head_dim;
    RETURN_IF_ERROR(
        ReadVectors({{LayerName(names_.attention_norm), c_.hidden}}, &out->attention_norm));
    RETURN_IF_ERROR(ReadMatrices({{LayerName(names_.q), q_rows, c_.q_heads},
                                  {LayerName(names_.k), kv_rows, c_.kv_heads},
                                  {LayerName(names_.v), kv_rows}},
                                 c_.hidden, &out->qkv));
    if (c_.qkv_bias) {
      RETURN_IF_ERROR(ReadVectors({{LayerName(names_.q_bias), q_rows, c_.q_heads},
                                   {LayerName(names_.k_bias), kv_rows, c_.kv_heads},
                                   {LayerName(names_.v_bias), kv_rows}},
                                  &out->qkv_bias));
    }
    return ReadMatrices({{LayerName(names_.attention_output), c_.hidden}}, q_rows,
                        &out->attention_output);
  }

  absl::Status ReadFeedForward(LayerWeights* out) {
    RETURN_IF_ERROR(ReadVectors({{LayerName(names_.ffn_norm), c_.hidden}}, &out->ffn_norm));
    RETURN_IF_ERROR(ReadMatrices(
        {{LayerName(names_.gate), c_.intermediate}, {LayerName(names_.up), c_.intermediate}},
        c_.hidden, &out->gate_up));
    return ReadMatrices({{LayerName(names_.down), c_.hidden}}, c_.intermediate, &out->down);
  }

  absl::Status ReadHead(Weights* out) {
    RETURN_IF_ERROR(ReadVectors({{std::string(names_.final_norm), c_.hidden}}, &out->final_norm));
    if (c_.tied_embeddings) return absl::OkStatus();
    return ReadMatrices({{std::string(names_.lm_head), c_.vocab}}, c_.hidden, &out->lm_head);
  }

  absl::Status ReadMatrices(const std::vector<Part>& parts, int64_t columns, PackedWeights* out) {
    std::vector<const ModelTensor*> tensors;
    int64_t rows = 0;
    for (const Part& part : parts) {
      ASSIGN_OR_RETURN(tensors.emplace_back(), tensors_.FindMatrix(part.name, part.rows, columns));
      rows += part.rows;
    }
    // Only now: what the config claims is in the file, so the size is no invention.
    *out = PackedWeights(rows, columns, memory_);
    int64_t row = 0;
    for (size_t i = 0; i < parts.size(); ++i) {
      CopyRows(*tensors[i], parts[i].heads, row, out);
      row += parts[i].rows;
    }
    return absl::OkStatus();
  }

  // Packs all rows of the tensor as rows [first_row, ...) of `out`: some pieces at a time, side by
  // side, then hashed in their order. Pieces end where panels of `out` do.
  void CopyRows(const ModelTensor& tensor, int64_t heads, int64_t first_row, PackedWeights* out) {
    const int64_t columns = tensor.shape[1];
    const int64_t lead = first_row % kPanelColumns;
    const int64_t pieces = (lead + tensor.shape[0] + kPanelColumns - 1) / kPanelColumns;
    const auto row_of = [&](int64_t piece) {
      return std::clamp<int64_t>(piece * kPanelColumns - lead, 0, tensor.shape[0]);
    };
    const int64_t batch = kPiecesPerThread * pool_.threads();
    for (int64_t first = 0; first < pieces; first += batch) {
      const int64_t count = std::min(batch, pieces - first);
      const int64_t begin = row_of(first);
      rows_.resize(static_cast<size_t>((row_of(first + count) - begin) * columns));
      pool_.ForEach(count, [&](int64_t i) {
        const int64_t row = row_of(first + i);
        const int64_t rows = row_of(first + i + 1) - row;
        const std::span<bf16> piece(rows_.data() + (row - begin) * columns,
                                    static_cast<size_t>(rows * columns));
        tensors_.ReadRows(tensor, heads, row, piece);
        out->SetRows(first_row + row, rows, piece.data());
      });
      hasher_.Add(std::span<const bf16>(rows_));
    }
  }

  absl::Status ReadVectors(const std::vector<Part>& parts, std::vector<float>* out) {
    for (const Part& part : parts) {
      ASSIGN_OR_RETURN(std::vector<float> values,
                       tensors_.ReadVector(part.name, part.rows, part.heads));
      out->insert(out->end(), values.begin(), values.end());
    }
    hasher_.Add(std::span<const float>(*out));
    return absl::OkStatus();
  }

  const ModelConfig& c_;
  const TensorNames& names_;
  TensorLoader tensors_;
  ThreadPool& pool_;
  WeightsHasher hasher_;
  HugePageArena memory_;    // of all packed weights
  std::string prefix_;      // of the layer that is being read
  std::vector<bf16> rows_;  // [rows of a batch, columns], scratch of CopyRows
};

}  // namespace

absl::StatusOr<Weights> LoadWeights(const ModelConfig& config, const TensorSource& source,
                                    int threads) {
  absl::StatusOr<Weights> weights;
  // On a thread of its own, because a pool changes the float mode of its owner's.
  std::thread([&] {
    ThreadPool pool(threads);
    weights = WeightsBuilder(config, source, pool).Build();
  }).join();
  return weights;
}

}  // namespace lynx
