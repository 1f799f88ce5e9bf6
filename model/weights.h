// A Llama-type model's weights, ready to compute with: matrices as packed BF16, norms and biases as
// float. Immutable after loading, so any thread may read.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/pack.h"
#include "model/model_config.h"
#include "model/tensor_source.h"
#include "model/weights_hash.h"
#include "model/weights_out.h"
#include "runtime/aligned_buffer.h"
#include "runtime/bf16.h"
#include "runtime/huge_page_arena.h"
#include "runtime/status.h"

namespace lynx {

// RoPE rotates halves (i, i + head_dim / 2) of each head of Q and K, wherever the weights came
// from.
struct LayerWeights {
  std::vector<float> attention_norm;  // [hidden]
  // [(q_heads + 2 * kv_heads) * head_dim, hidden]: rows of Q, then K, then V
  PackedWeights qkv;
  std::vector<float> qkv_bias;     // [(q_heads + 2 * kv_heads) * head_dim], or empty
  PackedWeights attention_output;  // [hidden, q_heads * head_dim]
  std::vector<float> ffn_norm;     // [hidden]
  PackedWeights gate_up;           // [2 * intermediate, hidden]: rows of gate, then up
  PackedWeights down;              // [hidden, intermediate]
};

struct Weights {
  HugePageArena memory;                 // of all packed weights
  AlignedBuffer<bf16> token_embedding;  // [vocab, hidden], row-major; empty if lm_head holds it
  std::vector<LayerWeights> layers;
  std::vector<float> final_norm;  // [hidden]
  PackedWeights lm_head;  // [vocab, hidden]; its rows are the embedding too if they are tied
  WeightsHash hash;
};

// Converts and packs what `source` holds. `config` is valid. An error names the tensor that is
// missing, has another shape (wanted and found), has a type that is not supported, or is not
// expected in such a model. Rounding to BF16 is logged, one line a type. The result is the same for
// every number of threads.
absl::StatusOr<Weights> LoadWeights(const ModelConfig& config, const TensorSource& source,
                                    int threads = 1);

// Puts loaded weights into something else, as ReadWeights does those of a file.
absl::Status PutWeights(const Weights& weights, WeightsOut& out);

}  // namespace lynx
