// The forward pass of a Llama-type model over the rows of a step: prefill chunks, plain decoding,
// drafting and verification side by side, each sequence with its own KV view. Weights are read once
// for all rows.
//
// A row's results depend on its sequence alone, never on what else is in the pass
// (docs/exactness.md). Thread: the engine thread (the owner of the ThreadPool).
#pragma once

#include <cstdint>
#include <span>

#include "absl/functional/function_ref.h"
#include "kernels/ops.h"
#include "kernels/parallel.h"
#include "model/kv_sequence.h"
#include "model/model_config.h"
#include "model/rope.h"
#include "model/weights.h"
#include "runtime/aligned_buffer.h"
#include "runtime/thread_pool.h"

namespace lynx {

// One sequence's rows of a pass: consecutive positions.
struct PassRows {
  std::span<const int32_t> tokens;  // ids in [0, vocab)
  int64_t first_position = 0;  // of tokens[0]; the keys and values of all before it are in `kv`
  KvSequence* kv = nullptr;    // the rows' own keys and values are written to its BF16 pages
  KvView view = KvView::kTarget;
};

class Transformer {
 public:
  // Rows whose logits one call can give.
  static constexpr int64_t kLogitRowsMax = 128;

  // Everything given outlives the transformer. A pass may hold up to `rows_max` rows.
  Transformer(const ModelConfig& config, const Weights& weights, const Kernels& kernels,
              ThreadPool& pool, int64_t rows_max);

  int64_t rows_max() const { return rows_max_; }
  int64_t vocab() const { return config_.vocab; }

  // Runs all layers. `after_layer(l)` is called when the keys and values of all rows in layer l are
  // written, so that a prefill can send them while the later layers are computed.
  void Forward(
      std::span<const PassRows> pass, absl::FunctionRef<void(int layer)> after_layer = [](int) {});

  // Logits of rows of the last pass (numbered over the pass from 0), [rows.size(), vocab]; at most
  // kLogitRowsMax rows. Valid until the next call.
  const float* Logits(std::span<const int64_t> rows);

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
