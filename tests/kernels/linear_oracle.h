// Naive double precision products and small helpers for the kernels' tests.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "kernels/ops.h"
#include "runtime/bf16.h"

namespace lynx::testing {

inline std::vector<float> RandomFloats(int64_t n, float scale, std::mt19937& rng) {
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> v(static_cast<size_t>(n));
  for (float& x : v) x = normal(rng);
  return v;
}

inline std::vector<bf16> RandomBf16s(int64_t n, float scale, std::mt19937& rng) {
  std::vector<bf16> v(static_cast<size_t>(n));
  std::normal_distribution<float> normal(0.0f, scale);
  for (bf16& x : v) x = ToBf16(normal(rng));
  return v;
}

// An output whose surroundings hold one particular NaN: whatever a kernel writes beside its own
// elements shows.
template <typename T>
class Guarded {
 public:
  explicit Guarded(int64_t n, int64_t margin = 80) : n_(n), margin_(margin) {
    memory_.resize(static_cast<size_t>(n + 2 * margin));
    std::memset(static_cast<void*>(memory_.data()), kFill, memory_.size() * sizeof(T));
  }
  T* data() { return memory_.data() + margin_; }
  const T* data() const { return memory_.data() + margin_; }
  bool intact() const {
    auto untouched = [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        if (!IsFill(memory_[static_cast<size_t>(i)])) return false;
      }
      return true;
    };
    return untouched(0, margin_) && untouched(margin_ + n_, n_ + 2 * margin_);
  }
  static bool IsFill(const T& x) {
    unsigned char bytes[sizeof(T)];
    std::memcpy(bytes, &x, sizeof(T));
    for (unsigned char b : bytes) {
      if (b != kFill) return false;
    }
    return true;
  }

 private:
  static constexpr unsigned char kFill = 0xff;
  int64_t n_, margin_;
  std::vector<T> memory_;
};

template <typename T>
bool SameBits(const T* a, const T* b, int64_t n) {
  return std::memcmp(a, b, static_cast<size_t>(n) * sizeof(T)) == 0;
}

// One value of a product in double, and the sum of its terms' magnitudes (what the error grows
// with).
struct ExactDot {
  double value = 0, magnitude = 0;
};
inline ExactDot DotInDouble(const bf16* a, const bf16* w, int64_t k) {
  ExactDot dot;
  for (int64_t i = 0; i < k; ++i) {
    const double term = static_cast<double>(ToFloat(a[i])) * static_cast<double>(ToFloat(w[i]));
    dot.value += term;
    dot.magnitude += std::fabs(term);
  }
  return dot;
}

}  // namespace lynx::testing
