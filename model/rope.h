// Rotary position embedding: the angles' cosines and sines of a position, with the model's scaling
// applied.
#pragma once

#include <cstdint>
#include <vector>

#include "model/model_config.h"

namespace lynx {

class Rope {
 public:
  explicit Rope(const ModelConfig& config);

  // Writes cos_sin[2, head_dim / 2] for `position`. In double until the last rounding, by our own
  // sine and cosine, so that every machine gets the same bits.
  void CosSin(int64_t position, float* cos_sin) const;

 private:
  std::vector<double> inverse_frequencies_;  // [head_dim / 2], radians a token
  double magnitude_ = 1.0;                   // yarn's factor on both
};

}  // namespace lynx
