// The forward pass on the CPU.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/ops.h"
#include "kernels/parallel.h"
#include "model/model_config.h"
#include "model/rope.h"
#include "model/transformer.h"
#include "model/weights.h"
#include "runtime/aligned_buffer.h"
#include "runtime/thread_pool.h"

namespace lynx {

// Thread: the owner of the ThreadPool. Both kinds of passes are one arithmetic.
class CpuTransformer final : public Transformer {
 public:
  // Everything given outlives the transformer. A pass may hold up to `rows_max` rows.
  CpuTransformer(const ModelConfig& config, const Weights& weights, const Kernels& kernels,
                 ThreadPool& pool, int64_t rows_max);

  int64_t rows_max() const override { return rows_max_; }
  int64_t vocab() const override { return config_.vocab; }

  using Transformer::Forward;
  void Forward(PassKind kind, std::span<const PassRows> pass, LayerHooks hooks) override;
  const float* Logits(std::span<const int64_t> rows) override;

 private:
  void Embed(std::span<const PassRows> pass);
  const bf16* Embedding(int32_t token);
  void AttentionBlock(int layer, std::span<const PassRows> pass);
  void RotateAndStore(int layer, std::span<const PassRows> pass);
  void FeedForward(int layer);
  void Norm(const float* x, const float* weight, int64_t rows, bf16* out);

  const ModelConfig& config_;
  const Weights& weights_;
  const Kernels& kernels_;
  ThreadPool& pool_;
  const int64_t rows_max_;
  const Rope rope_;

  int64_t rows_ = 0;                  // of the current pass
  AlignedBuffer<float> hidden_;       // [rows, hidden], the residual stream
  AlignedBuffer<bf16> normed_;        // [rows, hidden]
  AlignedBuffer<float> qkv_;          // [rows, (q_heads + 2 * kv_heads) * head_dim]
  AlignedBuffer<bf16> attended_;      // [rows, q_heads * head_dim]
  AlignedBuffer<float> gate_up_;      // [rows, 2 * intermediate]
  AlignedBuffer<bf16> activated_;     // [rows, intermediate]
  AlignedBuffer<float> cos_sin_;      // [rows, head_dim]
  AlignedBuffer<float> logit_input_;  // [kLogitRowsMax, hidden]
  AlignedBuffer<float> logits_;       // [kLogitRowsMax, vocab]
  AlignedBuffer<bf16> embedding_;     // [hidden], a row that the packed head held
  std::vector<AttentionArgs> attention_args_;
};

}  // namespace lynx
