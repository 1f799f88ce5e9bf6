// Made-up sequences for the attention tests: KV of every kind of page, and what attention must
// give.
#pragma once

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/kv_layout_inl.h"
#include "kernels/ops.h"
#include "runtime/aligned_buffer.h"

namespace lynx {

// A sequence's KV as plain numbers, and as BF16 pages.
class TestKv {
 public:
  TestKv(const Kernels& kernels, KvShape shape, int64_t tokens, uint32_t seed)
      : shape_(shape), tokens_(tokens) {
    std::mt19937 rng(seed);
    std::normal_distribution<float> normal;
    const int64_t width = static_cast<int64_t>(shape.kv_heads) * shape.head_dim;
    std::vector<float> k(static_cast<size_t>(width)), v(static_cast<size_t>(width)), bias(k.size());
    for (float& b : bias) b = 3 * normal(rng);  // K has channels far from zero, as real models do
    const int64_t pages = (tokens + kPageTokens - 1) / kPageTokens;
    for (int64_t p = 0; p < pages; ++p) {
      pages_.emplace_back(Bf16PageBytes(shape));
      // NaN behind the last token.
      std::memset(pages_.back().data(), 0xff, pages_.back().size());
    }
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t i = 0; i < width; ++i) {
        k[i] = bias[i] + normal(rng);
        v[i] = normal(rng) * 0.5f + 0.25f;
      }
      kernels.write_kv({.shape = shape,
                        .k = k.data(),
                        .v = v.data(),
                        .page = pages_[t / kPageTokens].data(),
                        .token = static_cast<int>(t % kPageTokens)});
    }
  }

  KvShape shape() const { return shape_; }
  int64_t tokens() const { return tokens_; }
  AlignedBuffer<std::byte>& page(int64_t p) { return pages_[p]; }
  std::vector<KvPageRef> Bf16Pages() const {
    std::vector<KvPageRef> refs;
    for (const auto& page : pages_) refs.push_back({KvPageKind::kBf16, page.data(), nullptr});
    return refs;
  }
  double Key(int head, int64_t token, int c) const {
    return At(token, KeyIndex(shape_, head, static_cast<int>(token % kPageTokens), c));
  }
  double Value(int head, int64_t token, int c) const {
    return At(token, ValueIndex(shape_, head, static_cast<int>(token % kPageTokens), c));
  }

 private:
  double At(int64_t token, size_t index) const {
    const auto* page = reinterpret_cast<const bf16*>(pages_[token / kPageTokens].data());
    return ToFloat(page[index]);
  }

  KvShape shape_;
  int64_t tokens_;
  std::vector<AlignedBuffer<std::byte>> pages_;
};

inline std::vector<float> TestQueries(int64_t rows, int q_heads, int head_dim, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  std::vector<float> q(static_cast<size_t>(rows * q_heads * head_dim));
  for (float& x : q) x = normal(rng);
  return q;
}

// Attention of one query in double precision; key and value are functions of (token, channel).
template <class Key, class Value>
std::vector<double> NaiveAttention(const float* q, int head_dim, double scale, int64_t begin,
                                   int64_t end, const Key& key, const Value& value) {
  std::vector<double> scores;
  double max = -INFINITY;
  for (int64_t t = begin; t < end; ++t) {
    double s = 0;
    for (int c = 0; c < head_dim; ++c) s += q[c] * scale * key(t, c);
    scores.push_back(s);
    max = std::max(max, s);
  }
  std::vector<double> out(static_cast<size_t>(head_dim), 0.0);
  double sum = 0;
  for (int64_t t = begin; t < end; ++t) {
    const double p = std::exp(scores[t - begin] - max);
    sum += p;
    for (int c = 0; c < head_dim; ++c) out[c] += p * value(t, c);
  }
  for (double& x : out) x /= sum;
  return out;
}

}  // namespace lynx
