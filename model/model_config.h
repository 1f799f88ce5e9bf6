// What a model is, whichever file it came from.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/status.h"

namespace lynx {

enum class Architecture { kLlama, kQwen2 };
std::string_view ArchitectureName(Architecture architecture);  // "llama", "qwen2"

enum class RopeScaling { kNone, kLinear, kYarn };

struct RopeConfig {
  double theta = 10000.0;
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1.0;                       // linear, yarn
  int64_t original_context = 0;              // yarn
  double beta_fast = 32.0, beta_slow = 1.0;  // yarn
  double attention_factor = 0.0;             // yarn; 0: 0.1 * ln(factor) + 1
  // Divisors of the head_dim / 2 inverse frequencies: llama3's scaling, in the form in which GGUF
  // keeps it (then `scaling` is kNone); else empty.
  std::vector<float> frequency_divisors;
};

struct ModelConfig {
  Architecture architecture = Architecture::kLlama;
  std::string name;  // from the file, or the file's name
  int64_t layers = 0;
  int64_t hidden = 0;
  int64_t intermediate = 0;
  int64_t q_heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t vocab = 0;
  int64_t max_context = 0;
  float rms_eps = 1e-5f;
  bool qkv_bias = false;
  bool tied_embeddings = false;
  RopeConfig rope;
  std::vector<int32_t> eos_ids;  // any of these ends the text; ascending
};

// Whether the numbers make sense together: positive, within what 32-bit sizes of one row can hold,
// head counts that divide, end-of-text ids inside the vocabulary. Every loader calls it, so that
// what is loaded can be computed with.
absl::Status ValidateModelConfig(const ModelConfig& config);

}  // namespace lynx
