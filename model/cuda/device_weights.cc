#include "model/cuda/device_weights.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "runtime/cuda/cuda_handles.h"

namespace lynx::cuda {
namespace {

constexpr size_t kChunkBytes = size_t{8} << 20;

}  // namespace

class WeightsUploader {
 public:
  WeightsUploader(const ModelConfig& config, const Weights& weights, cudaStream_t stream,
                  DeviceWeights* out)
      : config_(config), weights_(weights), stream_(stream), out_(*out) {}

  absl::Status Run(const LinearPolicy& policy) {
    for (Chunk& chunk : chunks_) {
      ASSIGN_OR_RETURN(chunk.memory, PinnedBuffer<std::byte>::Create(kChunkBytes));
      ASSIGN_OR_RETURN(chunk.copied, NewEvent());
    }
    ASSIGN_OR_RETURN(out_.plans_, LinearPlans::Create(policy));
    for (const LayerWeights& layer : weights_.layers) RETURN_IF_ERROR(AddLayer(layer));
    ASSIGN_OR_RETURN(out_.final_norm_, Vector(weights_.final_norm));
    RETURN_IF_ERROR(AddMatrix(weights_.lm_head, {}, &out_.lm_head_));
    out_.embedding_ = out_.matrices_.back().data();
    if (!config_.tied_embeddings) RETURN_IF_ERROR(AddEmbedding());
    return ToStatus(cudaStreamSynchronize(stream_), "cannot copy the weights to the device");
  }

 private:
  struct Chunk {
    PinnedBuffer<std::byte> memory;
    UniqueEvent copied;
  };

  absl::Status AddLayer(const LayerWeights& layer) {
    DeviceLayer& out = out_.layers_.emplace_back();
    ASSIGN_OR_RETURN(out.attention_norm, Vector(layer.attention_norm));
    ASSIGN_OR_RETURN(out.ffn_norm, Vector(layer.ffn_norm));
    RETURN_IF_ERROR(AddMatrix(layer.qkv, layer.qkv_bias, &out.qkv));
    RETURN_IF_ERROR(AddMatrix(layer.attention_output, {}, &out.attention_output));
    RETURN_IF_ERROR(AddMatrix(layer.gate_up, {}, &out.gate_up));
    return AddMatrix(layer.down, {}, &out.down);
  }

  absl::Status AddMatrix(const PackedWeights& matrix, std::span<const float> bias, Linear* out) {
    ASSIGN_OR_RETURN(DeviceBuffer<bf16> device,
                     DeviceBuffer<bf16>::Create(static_cast<size_t>(matrix.n() * matrix.k())));
    LinearWeight weight{.w = device.data(), .n = matrix.n(), .k = matrix.k()};
    RETURN_IF_ERROR(CopyRows(matrix.n(), matrix.k(), device.data(),
                             [&](int64_t row, bf16* to) { matrix.GetRow(row, to); }));
    out_.matrices_.push_back(std::move(device));
    if (!bias.empty()) {
      ASSIGN_OR_RETURN(DeviceBuffer<float> device_bias, Vector(bias));
      weight.bias = device_bias.data();
      out_.biases_.push_back(std::move(device_bias));
    }
    ASSIGN_OR_RETURN(*out, out_.plans_->Add(weight, stream_));
    return absl::OkStatus();
  }

  absl::Status AddEmbedding() {
    const int64_t columns = config_.hidden;
    ASSIGN_OR_RETURN(
        DeviceBuffer<bf16> device,
        DeviceBuffer<bf16>::Create(static_cast<size_t>(config_.vocab * config_.hidden)));
    RETURN_IF_ERROR(CopyRows(config_.vocab, columns, device.data(), [&](int64_t row, bf16* to) {
      std::copy_n(weights_.token_embedding.data() + row * columns, columns, to);
    }));
    out_.embedding_ = device.data();
    out_.matrices_.push_back(std::move(device));
    return absl::OkStatus();
  }

  absl::StatusOr<DeviceBuffer<float>> Vector(std::span<const float> values) {
    ASSIGN_OR_RETURN(DeviceBuffer<float> device, DeviceBuffer<float>::Create(values.size()));
    // From pageable memory: the call returns when it has been read.
    RETURN_IF_ERROR(ToStatus(cudaMemcpyAsync(device.data(), values.data(), values.size_bytes(),
                                             cudaMemcpyHostToDevice, stream_),
                             "cannot copy weights to the device"));
    return device;
  }

  // Rows go through two pinned chunks, so that one is filled while the other is copied.
  template <typename GetRow>
  absl::Status CopyRows(int64_t rows, int64_t columns, bf16* to, const GetRow& get_row) {
    const size_t row_bytes = static_cast<size_t>(columns) * sizeof(bf16);
    if (row_bytes > kChunkBytes) {
      return absl::InvalidArgumentError(absl::StrCat("a row of ", columns, " weights is too long"));
    }
    const auto rows_a_chunk = static_cast<int64_t>(kChunkBytes / row_bytes);
    for (int64_t begin = 0; begin < rows; begin += rows_a_chunk) {
      const int64_t count = std::min(rows_a_chunk, rows - begin);
      Chunk& chunk = chunks_[next_chunk_++ % std::size(chunks_)];
      RETURN_IF_ERROR(ToStatus(cudaEventSynchronize(chunk.copied.get()), "the device failed"));
      auto* staged = reinterpret_cast<bf16*>(chunk.memory.data());
      for (int64_t i = 0; i < count; ++i) get_row(begin + i, staged + i * columns);
      RETURN_IF_ERROR(ToStatus(cudaMemcpyAsync(to + begin * columns, staged, count * row_bytes,
                                               cudaMemcpyHostToDevice, stream_),
                               "cannot copy weights to the device"));
      RETURN_IF_ERROR(
          ToStatus(cudaEventRecord(chunk.copied.get(), stream_), "cannot record an event"));
    }
    return absl::OkStatus();
  }

  const ModelConfig& config_;
  const Weights& weights_;
  const cudaStream_t stream_;
  DeviceWeights& out_;
  Chunk chunks_[2];
  size_t next_chunk_ = 0;
};

absl::StatusOr<std::unique_ptr<DeviceWeights>> DeviceWeights::Upload(const ModelConfig& config,
                                                                     const Weights& weights,
                                                                     const LinearPolicy& policy,
                                                                     cudaStream_t stream) {
  std::unique_ptr<DeviceWeights> device(new DeviceWeights());
  RETURN_IF_ERROR(WeightsUploader(config, weights, stream, device.get()).Run(policy));
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
