#include "model/weights_reader.h"

#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/ops.h"
#include "model/tensor_loader.h"
#include "runtime/thread_pool.h"

namespace lynx {

namespace {

// Of a batch: so many that threads seldom wait for the slowest, so few that they stay in the cache.
constexpr int64_t kPiecesPerThread = 4;

int64_t ValuesIn(const TensorSource& source) {
  int64_t values = 0;
  for (const auto& [name, tensor] : source.tensors) {
    if (source.ignored.contains(std::string(name))) continue;
    int64_t count = 1;  // the file's bytes bound it
    for (const int64_t extent : tensor->shape) count *= extent;
    values += count;
  }
  return values;
}

class WeightsReader {
 public:
  WeightsReader(const ModelConfig& config, const TensorSource& source, ThreadPool& pool,
                WeightsOut& out)
      : c_(config),
        names_(*source.names),
        tensors_(source),
        pool_(pool),
        out_(out),
        progress_(source.progress != nullptr ? *source.progress : unwatched_),
        hasher_(config) {
    progress_.SetTotal(ValuesIn(source));
  }

  absl::StatusOr<WeightsHash> Read() {
    RETURN_IF_ERROR(
        ReadMatrix(names_.token_embedding, c_.vocab, c_.hidden,
                   c_.tied_embeddings ? MatrixRole::kLmHead : MatrixRole::kTokenEmbedding));
    for (layer_ = 0; layer_ < c_.layers; ++layer_) {
      prefix_ = absl::StrCat(std::string(names_.layer_prefix), layer_, ".");
      RETURN_IF_ERROR(ReadAttention());
      RETURN_IF_ERROR(ReadFeedForward());
    }
    layer_ = 0;
    RETURN_IF_ERROR(
        ReadVectors({{std::string(names_.final_norm), c_.hidden}}, VectorRole::kFinalNorm));
    if (!c_.tied_embeddings) {
      RETURN_IF_ERROR(ReadMatrix(names_.lm_head, c_.vocab, c_.hidden, MatrixRole::kLmHead));
    }
    RETURN_IF_ERROR(tensors_.CheckAllRead());
    tensors_.LogRounding();
    return hasher_.Finish();
  }

 private:
  // One tensor's rows inside a fused matrix or bias.
  struct Part {
    std::string name;
    int64_t rows;
    int64_t heads = 0;  // of Q and K, whose rows may have to be reordered
  };

  std::string LayerName(std::string_view name) const { return prefix_ + std::string(name); }

  absl::Status ReadMatrix(std::string_view name, int64_t rows, int64_t columns, MatrixRole role) {
    return ReadMatrices({{std::string(name), rows}}, columns, role);
  }

  absl::Status ReadAttention() {
    const int64_t q_rows = c_.q_heads * c_.head_dim;
    const int64_t kv_rows = c_.kv_heads * c_.head_dim;
    RETURN_IF_ERROR(
        ReadVectors({{LayerName(names_.attention_norm), c_.hidden}}, VectorRole::kAttentionNorm));
    RETURN_IF_ERROR(ReadMatrices({{LayerName(names_.q), q_rows, c_.q_heads},
                                  {LayerName(names_.k), kv_rows, c_.kv_heads},
                                  {LayerName(names_.v), kv_rows}},
                                 c_.hidden, MatrixRole::kQkv));
    if (c_.qkv_bias) {
      RETURN_IF_ERROR(ReadVectors({{LayerName(names_.q_bias), q_rows, c_.q_heads},
                                   {LayerName(names_.k_bias), kv_rows, c_.kv_heads},
                                   {LayerName(names_.v_bias), kv_rows}},
                                  VectorRole::kQkvBias));
    }
    return ReadMatrices({{LayerName(names_.attention_output), c_.hidden}}, q_rows,
                        MatrixRole::kAttentionOutput);
  }

  absl::Status ReadFeedForward() {
    RETURN_IF_ERROR(ReadVectors({{LayerName(names_.ffn_norm), c_.hidden}}, VectorRole::kFfnNorm));
    RETURN_IF_ERROR(ReadMatrices(
        {{LayerName(names_.gate), c_.intermediate}, {LayerName(names_.up), c_.intermediate}},
        c_.hidden, MatrixRole::kGateUp));
    return ReadMatrices({{LayerName(names_.down), c_.hidden}}, c_.intermediate, MatrixRole::kDown);
  }

  absl::Status ReadMatrices(const std::vector<Part>& parts, int64_t columns, MatrixRole role) {
    std::vector<const ModelTensor*> tensors;
    int64_t rows = 0;
    for (const Part& part : parts) {
      ASSIGN_OR_RETURN(tensors.emplace_back(), tensors_.FindMatrix(part.name, part.rows, columns));
      rows += part.rows;
    }
    // Only now: what the config claims is in the file, so the size is no invention.
    RETURN_IF_ERROR(out_.BeginMatrix(role, layer_, rows, columns));
    int64_t row = 0;
    for (size_t i = 0; i < parts.size(); ++i) {
      RETURN_IF_ERROR(CopyRows(*tensors[i], parts[i].heads, row));
      row += parts[i].rows;
    }
    return absl::OkStatus();
  }

  // Puts all rows of the tensor as rows [first_row, ...) of the matrix: some pieces at a time, side
  // by side, then hashed in their order. Pieces end where panels do.
  absl::Status CopyRows(const ModelTensor& tensor, int64_t heads, int64_t first_row) {
    const int64_t columns = tensor.shape[1];
    const int64_t lead = first_row % kPanelColumns;
    const int64_t pieces = (lead + tensor.shape[0] + kPanelColumns - 1) / kPanelColumns;
    const auto row_of = [&](int64_t piece) {
      return std::clamp<int64_t>(piece * kPanelColumns - lead, 0, tensor.shape[0]);
    };
    const int64_t batch = std::clamp<int64_t>(out_.BatchValuesMax() / (kPanelColumns * columns), 1,
                                              kPiecesPerThread * pool_.threads());
    for (int64_t first = 0; first < pieces; first += batch) {
      const int64_t count = std::min(batch, pieces - first);
      const int64_t begin = row_of(first);
      ASSIGN_OR_RETURN(const std::span<bf16> room,
                       out_.Room((row_of(first + count) - begin) * columns));
      pool_.ForEach(count, [&](int64_t i) {
        const int64_t row = row_of(first + i);
        const int64_t rows = row_of(first + i + 1) - row;
        const std::span<bf16> piece = room.subspan(static_cast<size_t>((row - begin) * columns),
                                                   static_cast<size_t>(rows * columns));
        tensors_.ReadRows(tensor, heads, row, piece);
        out_.PutPiece(first_row + row, rows, piece.data());
      });
      hasher_.Add(std::span<const bf16>(room));
      progress_.Add(static_cast<int64_t>(room.size()));
      RETURN_IF_ERROR(out_.PutBatch(first_row + begin, room));
    }
    return absl::OkStatus();
  }

  absl::Status ReadVectors(const std::vector<Part>& parts, VectorRole role) {
    std::vector<float> all;
    for (const Part& part : parts) {
      ASSIGN_OR_RETURN(std::vector<float> values,
                       tensors_.ReadVector(part.name, part.rows, part.heads));
      all.insert(all.end(), values.begin(), values.end());
    }
    hasher_.Add(std::span<const float>(all));
    progress_.Add(static_cast<int64_t>(all.size()));
    return out_.PutVector(role, layer_, all);
  }

  const ModelConfig& c_;
  const TensorNames& names_;
  TensorLoader tensors_;
  ThreadPool& pool_;
  WeightsOut& out_;
  WorkProgress unwatched_;
  WorkProgress& progress_;
  WeightsHasher hasher_;
  int64_t layer_ = 0;   // that is being read
  std::string prefix_;  // of its tensors' names
};

}  // namespace

absl::StatusOr<WeightsHash> ReadWeights(const ModelConfig& config, const TensorSource& source,
                                        int threads, WeightsOut& out) {
  absl::StatusOr<WeightsHash> hash;
  // On a thread of its own, because a pool changes the float mode of its owner's.
  std::thread([&] {
    ThreadPool pool(threads);
    hash = WeightsReader(config, source, pool, out).Read();
  }).join();
  return hash;
}

}  // namespace lynx
