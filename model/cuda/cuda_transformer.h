// The forward pass on a GPU. Everything of a pass is queued on one stream; the host waits only for
// logits, and where a layer's hook does.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>

#include "model/cuda/device_weights.h"
#include "model/cuda/pass_limits.h"
#include "model/cuda/step_graphs.h"
#include "model/cuda/step_inputs.h"
#include "model/model_config.h"
#include "model/transformer.h"
#include "runtime/cuda/cuda_buffer.h"

namespace lynx::cuda {

class CudaTransformer final : public Transformer {
 public:
  // Everything given outlives the transformer. Takes all memory that passes within the limits need,
  // but for that of at most graphs_max graphs (StepGraphs). RESOURCE_EXHAUSTED: there is too
  // little.
  static absl::StatusOr<std::unique_ptr<CudaTransformer>> Create(const ModelConfig& config,
                                                                 const DeviceWeights& weights,
                                                                 cudaStream_t stream,
                                                                 const PassLimits& limits,
                                                                 int64_t graphs_max);
  // Bytes of device memory that Create takes.
  static size_t BytesNeeded(const ModelConfig& config, const PassLimits& limits);

  int64_t rows_max() const override { return limits_.rows; }
  int64_t vocab() const override { return config_.vocab; }
  using Transformer::Forward;
  void Forward(PassKind kind, std::span<const PassRows> pass, LayerHooks hooks) override;
  // For tools and tests: serving samples on the device.
  const float* Logits(std::span<const int64_t> rows) override;

  // Queues the logits of rows of the last pass, numbered as Logits does. rows: [count], device
  // memory; at most kLogitRowsMax. Returns [count, vocab] in device memory, which more logits and
  // the next pass overwrite.
  const float* QueueLogits(const int32_t* rows, int64_t count);
  int64_t pass_rows() const { return rows_; }  // of the last pass
  cudaStream_t stream() const { return stream_; }
  const StepGraphs::Stats& graph_stats() const { return graphs_.stats(); }

 private:
  CudaTransformer(const ModelConfig& config, const DeviceWeights& weights, cudaStream_t stream,
                  const PassLimits& limits, int64_t graphs_max)
      : config_(config),
        weights_(weights),
        stream_(stream),
        limits_(limits),
        graphs_(stream, graphs_max) {}
  absl::Status Allocate();
  LinearPhase phase() const {
    return kind_ == PassKind::kPrefill ? LinearPhase::kPrefill : LinearPhase::kDecode;
  }

  void QueueDecode(const KvGeometry& geometry, const StepInputs& inputs);
  void QueueLayers(const KvGeometry& geometry, const StepInputs& inputs,
                   absl::FunctionRef<void(int layer)> queued);
  void Attend(int layer, const KvGeometry& geometry, const StepInputs& inputs);
  void AttendPrefill(int layer, const KvGeometry& geometry, const StepInputs& inputs);
  void FeedForward(const DeviceLayer& layer);
  void Norm(const float* weight);
  void Product(const Linear& linear, const bf16* a, float* c, bool accumulate, int64_t rows);

  const ModelConfig& config_;
  const DeviceWeights& weights_;
  const cudaStream_t stream_;
  const PassLimits limits_;
  std::unique_ptr<StepInputBuilder> builder_;
  StepGraphs graphs_;

  PassKind kind_ = PassKind::kPrefill;  // of the current pass
  int64_t rows_ = 0;                    // likewise
  DeviceBuffer<float> hidden_;          // [rows, hidden], the residual stream
  DeviceBuffer<bf16> normed_;           // [rows, hidden]
  DeviceBuffer<float> qkv_;             // [rows, (q_heads + 2 * kv_heads) * head_dim]
  DeviceBuffer<bf16> attended_;         // [rows, q_heads * head_dim]
  DeviceBuffer<float> gate_up_;         // [rows, 2 * intermediate]
  DeviceBuffer<bf16> activated_;        // [rows, intermediate]
  DeviceBuffer<float> partials_;        // of one launch of attention
  DeviceBuffer<int32_t> logit_rows_;    // [kLogitRowsMax]
  DeviceBuffer<float> logits_;          // [kLogitRowsMax, vocab]
  PinnedBuffer<int32_t> host_logit_rows_;
  PinnedBuffer<float> host_logits_;  // [kLogitRowsMax, vocab], from the first Logits on
};

}  // namespace lynx::cuda
