// An independent forward pass of Llama and Qwen2 in plain double precision, written from the
// models' definitions (arXiv 2302.13971, 2407.10671; RoPE 2104.09864) and not from the engine: it
// reads a Hugging Face folder's tensors itself, uses libm, and no kernel. Slow; for tests only.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "model/model_config.h"

namespace lynx::reference {

// Which roundings of the engine the pass repeats. All arithmetic between them stays double.
enum class Rounding {
  kNone,
  kBf16,  // inputs of the matrix products, K and V, and in attention q * scale and the weights
};

// Keys and values that are given instead of computed, for positions [0, tokens): what code pages
// stand for, but for the first four, which are BF16.
struct GivenKv {
  int64_t tokens = 0;                             // a multiple of the page's 64
  std::vector<std::vector<double>> keys, values;  // [layers][tokens * kv_heads * head_dim]
};

// Frequencies (radians a token) and magnitude of the rotary embedding, by the papers: linear
// (2306.15595), llama3 (the Llama 3.1 release), YaRN (2309.00071).
struct NaiveRope {
  std::vector<double> frequencies;  // [head_dim / 2]
  double magnitude = 1.0;
};
NaiveRope MakeNaiveRope(const RopeConfig& rope, int64_t head_dim);

class NaiveModel {
 public:
  using Rows = std::vector<std::vector<double>>;

  // Reads every weight of the folder. `config` may differ from the folder's in its RoPE.
  NaiveModel(const std::string& hf_folder, const ModelConfig& config);

  // Logits [tokens - given->tokens][vocab] of the positions that are computed.
  Rows Logits(std::span<const int32_t> tokens, Rounding rounding,
              const GivenKv* given = nullptr) const;

 private:
  using Row = std::vector<double>;
  struct Kv {
    Rows keys, values;  // [position][kv_heads * head_dim]
  };
  const Row& Tensor(const std::string& name) const;
  Row Linear(const std::string& name, const Row& x) const;
  Row Norm(const std::string& name, const Row& x, Rounding rounding) const;
  void Rotate(Row& heads, int64_t position) const;
  Row Attend(const Row& q, const Kv& kv, int64_t position, int64_t given, Rounding rounding) const;

  const ModelConfig config_;
  const NaiveRope rope_;
  std::map<std::string, Row> tensors_;  // matrices as [outputs, inputs]
};

}  // namespace lynx::reference
