#include "model/cuda/device_weights.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "runtime/cuda/cuda_handles.h"

namespace lynx::cuda {
namespace {

constexpr size_t kChunkBytes = size_t{8} << 20;

// Of 64 rows of the model's widest matrix, which a chunk must hold.
size_t PanelBytes(const ModelConfig& c) {
  const int64_t columns = std::max({c.hidden, c.q_heads * c.head_dim, c.intermediate});
  return static_cast<size_t>(64 * columns) * sizeof(bf16);
}

}  // namespace

// Batches go through two pinned chunks, so that one is filled while the other is copied.
class WeightsUploader final : public WeightsOut {
 public:
  WeightsUploader(const ModelConfig& config, cudaStream_t stream, DeviceWeights* out)
      : config_(config), stream_(stream), out_(*out), layers_(static_cast<size_t>(config.layers)) {
    out_.layers_.resize(layers_.size());
  }

  absl::Status Run(FeedWeights feed, const LinearPolicy& policy) {
    RETURN_IF_ERROR(ToStatus(cudaGetDevice(&device_), "cannot ask for the GPU"));
    for (Chunk& chunk : chunks_) {
      ASSIGN_OR_RETURN(chunk.memory,
                       PinnedBuffer<std::byte>::Create(std::max(kChunkBytes, PanelBytes(config_))));
      ASSIGN_OR_RETURN(chunk.copied, NewEvent());
    }
    RETURN_IF_ERROR(feed(*this));
    ASSIGN_OR_RETURN(out_.plans_, LinearPlans::Create(policy));
    RETURN_IF_ERROR(MakePlans());
    return ToStatus(cudaStreamSynchronize(stream_), "cannot copy the weights to the device");
  }

  absl::Status BeginMatrix(MatrixRole role, int64_t layer, int64_t rows, int64_t columns) override {
    RETURN_IF_ERROR(UseDevice());
    ASSIGN_OR_RETURN(DeviceBuffer<bf16> matrix,
                     DeviceBuffer<bf16>::Create(static_cast<size_t>(rows * columns)));
    bf16* data = matrix.data();
    out_.matrices_.push_back(std::move(matrix));
    matrix_ = {.w = data, .n = rows, .k = columns};
    to_ = data;
    if (role == MatrixRole::kTokenEmbedding) {
      out_.embedding_ = data;
    } else if (role == MatrixRole::kLmHead) {
      head_ = matrix_;
    } else {
      LinearWeight& weight = layers_[static_cast<size_t>(layer)][IndexOf(role)];
      const float* bias = weight.bias;
      weight = matrix_;
      weight.bias = bias;
    }
    return absl::OkStatus();
  }

  int64_t BatchValuesMax() const override {
    return static_cast<int64_t>(chunks_[0].memory.size() / sizeof(bf16));
  }

  absl::StatusOr<std::span<bf16>> Room(int64_t values) override {
    LYNX_CHECK(values <= BatchValuesMax());
    Chunk& chunk = chunks_[next_chunk_ % std::size(chunks_)];
    RETURN_IF_ERROR(ToStatus(cudaEventSynchronize(chunk.copied.get()), "the device failed"));
    return std::span(reinterpret_cast<bf16*>(chunk.memory.data()), static_cast<size_t>(values));
  }

  void PutPiece(int64_t, int64_t, const bf16*) override {}

  absl::Status PutBatch(int64_t first_row, std::span<const bf16> rows) override {
    RETURN_IF_ERROR(ToStatus(cudaMemcpyAsync(to_ + first_row * matrix_.k, rows.data(),
                                             rows.size_bytes(), cudaMemcpyHostToDevice, stream_),
                             "cannot copy weights to the device"));
    const Chunk& chunk = chunks_[next_chunk_++ % std::size(chunks_)];
    return ToStatus(cudaEventRecord(chunk.copied.get(), stream_), "cannot record an event");
  }

  absl::Status PutVector(VectorRole role, int64_t layer, std::span<const float> values) override {
    RETURN_IF_ERROR(UseDevice());
    ASSIGN_OR_RETURN(DeviceBuffer<float> device, DeviceBuffer<float>::Create(values.size()));
    // From pageable memory: the call returns when it has been read.
    RETURN_IF_ERROR(ToStatus(cudaMemcpyAsync(device.data(), values.data(), values.size_bytes(),
                                             cudaMemcpyHostToDevice, stream_),
                             "cannot copy weights to the device"));
    const auto i = static_cast<size_t>(layer);
    switch (role) {
      case VectorRole::kAttentionNorm:
        out_.layers_[i].attention_norm = std::move(device);
        break;
      case VectorRole::kFfnNorm:
        out_.layers_[i].ffn_norm = std::move(device);
        break;
      case VectorRole::kQkvBias:
        layers_[i][IndexOf(MatrixRole::kQkv)].bias = device.data();
        out_.biases_.push_back(std::move(device));
        break;
      case VectorRole::kFinalNorm:
        out_.final_norm_ = std::move(device);
        break;
    }
    return absl::OkStatus();
  }

 private:
  struct Chunk {
    PinnedBuffer<std::byte> memory;
    UniqueEvent copied;
  };
  using LayerMatrices = std::array<LinearWeight, 4>;  // by IndexOf

  static size_t IndexOf(MatrixRole role) {
    return static_cast<size_t>(role) - static_cast<size_t>(MatrixRole::kQkv);
  }

  // The device is a property of the calling thread.
  absl::Status UseDevice() const { return ToStatus(cudaSetDevice(device_), "cannot use the GPU"); }

  // All weights are there.
  absl::Status MakePlans() {
    for (size_t i = 0; i < layers_.size(); ++i) {
      DeviceLayer& layer = out_.layers_[i];
      RETURN_IF_ERROR(Plan(layers_[i][IndexOf(MatrixRole::kQkv)], &layer.qkv));
      RETURN_IF_ERROR(
          Plan(layers_[i][IndexOf(MatrixRole::kAttentionOutput)], &layer.attention_output));
      RETURN_IF_ERROR(Plan(layers_[i][IndexOf(MatrixRole::kGateUp)], &layer.gate_up));
      RETURN_IF_ERROR(Plan(layers_[i][IndexOf(MatrixRole::kDown)], &layer.down));
    }
    if (out_.embedding_ == nullptr) out_.embedding_ = head_.w;  // they are tied
    return Plan(head_, &out_.lm_head_);
  }

  absl::Status Plan(const LinearWeight& weight, Linear* out) {
    ASSIGN_OR_RETURN(*out, out_.plans_->Add(weight, stream_));
    return absl::OkStatus();
  }

  const ModelConfig& config_;
  const cudaStream_t stream_;
  DeviceWeights& out_;
  int device_ = 0;
  Chunk chunks_[2];
  size_t next_chunk_ = 0;
  LinearWeight matrix_;  // that is being put
  bf16* to_ = nullptr;   // its memory
  std::vector<LayerMatrices> layers_;
  LinearWeight head_;
};

absl::StatusOr<std::unique_ptr<DeviceWeights>> DeviceWeights::Upload(const ModelConfig& config,
                                                                     FeedWeights feed,
                                                                     const LinearPolicy& policy,
                                                                     cudaStream_t stream) {
  std::unique_ptr<DeviceWeights> device(new DeviceWeights());
  WeightsUploader uploader(config, stream, device.get());
  const absl::Status status = uploader.Run(feed, policy);
  if (!status.ok()) {
    cudaStreamSynchronize(stream);  // nothing may copy from or to memory that goes now
    return status;
  }
  return device;
}

size_t DeviceWeights::BytesNeeded(const ModelConfig& c, const LinearPolicy& policy) {
  const int64_t q = c.q_heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  const int64_t layer = (q + 2 * kv) * c.hidden + c.hidden * q + 3 * c.intermediate * c.hidden;
  const int64_t embeddings = c.vocab * c.hidden * (c.tied_embeddings ? 1 : 2);
  const int64_t vectors = c.layers * (2 * c.hidden + q + 2 * kv) + c.hidden;
  return static_cast<size_t>(c.layers * layer + embeddings) * sizeof(bf16) +
         static_cast<size_t>(vectors) * sizeof(float) + policy.workspace_bytes;
}

}  // namespace lynx::cuda
