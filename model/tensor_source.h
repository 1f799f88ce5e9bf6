// The tensors of one model file or folder, and how they are called there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "model/tensor.h"
#include "runtime/work_progress.h"

namespace lynx {

// Names of the tensors that a Llama-type model needs. Those of a layer stand behind
// "<layer_prefix><layer>.".
struct TensorNames {
  std::string_view token_embedding, final_norm, lm_head;
  std::string_view layer_prefix;
  std::string_view attention_norm, ffn_norm;
  std::string_view q, k, v, q_bias, k_bias, v_bias, attention_output;
  std::string_view gate, up, down;
};
extern const TensorNames kGgufTensorNames;
extern const TensorNames kHfTensorNames;

struct TensorSource {
  const TensorNames* names = nullptr;
  std::unordered_map<std::string_view, const ModelTensor*> tensors;
  // Tensors that may be there and are not weights: read elsewhere, or derived from others.
  std::unordered_set<std::string> ignored;
  // Rows of Q and K stand as pairs (2i, 2i + 1) in each head, as GGUF files of the llama
  // architecture have them; else as halves (i, i + head_dim / 2).
  bool interleaved_rope = false;
  // Told how many values were read, if it is there.
  WorkProgress* progress = nullptr;
};

}  // namespace lynx
