#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/math_inl.h"

namespace lynx {
namespace {

// The dimension whose wave turns `turns` times over the original context (YaRN, arXiv 2309.00071,
// section 3.2).
double YarnDimension(double turns, int64_t dim, const RopeConfig& rope) {
  return dim * std::log(rope.original_context / (turns * 2 * std::numbers::pi)) /
         (2 * std::log(rope.theta));
}

void ScaleYarn(std::vector<double>& inverse_frequencies, int64_t dim, const RopeConfig& rope) {
  const double low = std::max(std::floor(YarnDimension(rope.beta_fast, dim, rope)), 0.0);
  double high = std::min(std::ceil(YarnDimension(rope.beta_slow, dim, rope)), double(dim - 1));
  if (high == low) high += 0.001;
  for (size_t i = 0; i < inverse_frequencies.size(); ++i) {
    const double ramp = std::clamp((i - low) / (high - low), 0.0, 1.0);  // 0: as it is, 1: divided
    inverse_frequencies[i] *= (1 - ramp) + ramp / rope.factor;
  }
}

}  // namespace

Rope::Rope(const ModelConfig& config) : inverse_frequencies_(config.head_dim / 2) {
  const RopeConfig& rope = config.rope;
  for (size_t i = 0; i < inverse_frequencies_.size(); ++i) {
    inverse_frequencies_[i] = std::pow(rope.theta, -2.0 * i / config.head_dim);
  }
  for (size_t i = 0; i < rope.frequency_divisors.size(); ++i) {
    inverse_frequencies_[i] /= rope.frequency_divisors[i];
  }
  switch (rope.scaling) {
    case RopeScaling::kNone:
      break;
    case RopeScaling::kLinear:
      for (double& f : inverse_frequencies_) f /= rope.factor;
      break;
    case RopeScaling::kYarn:
      ScaleYarn(inverse_frequencies_, config.head_dim, rope);
      magnitude_ =
          rope.attention_factor != 0 ? rope.attention_factor : 0.1 * std::log(rope.factor) + 1.0;
      break;
  }
}

void Rope::CosSin(int64_t position, float* cos_sin) const {
  const size_t half = inverse_frequencies_.size();
  for (size_t i = 0; i < half; ++i) {
    const SinCosResult angle = SinCos(static_cast<double>(position) * inverse_frequencies_[i]);
    cos_sin[i] = static_cast<float>(angle.cos * magnitude_);
    cos_sin[half + i] = static_cast<float>(angle.sin * magnitude_);
  }
}

}  // namespace lynx
