// Sequences on the device as attention reads them, and the oracle.
#pragma once

#include "kernels/cuda/attention.h"
#include "tests/cuda/page_cases.h"

namespace lynx::testing {

inline std::vector<float> RandomQueries(int64_t rows, int q_heads, int head_dim, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  std::vector<float> q(static_cast<size_t>(rows * q_heads * head_dim));
  for (float& x : q) x = normal(rng);
  return q;
}

// Tokens 0 .. tokens - 1 in pages of given kinds, on the device; layer 1 of 2, layer 0 is absent.
// Memory of BF16 pages behind the last token is NaN.
class TestSequence {
 public:
  // Pages from kinds.size() on are BF16. Code pages are full of tokens.
  TestSequence(KvShape shape, KvSplit split, int64_t tokens, std::vector<KvPageKind> kinds,
               uint32_t seed)
      : shape_(shape), split_(split), tokens_(tokens) {
    const int64_t pages = (tokens + kPageTokens - 1) / kPageTokens;
    for (int64_t p = 0; p < pages; ++p) {
      const auto valid = static_cast<int>(std::min<int64_t>(kPageTokens, tokens - p * kPageTokens));
      pages_.push_back(RandomPage(shape, valid, seed * 1000 + static_cast<uint32_t>(p)));
      AddPage(p < std::ssize(kinds) ? kinds[p] : KvPageKind::kBf16);
    }
    Upload();
  }
  TestSequence(TestSequence&&) = default;

  int64_t tokens() const { return tokens_; }
  KvShape shape() const { return shape_; }
  bf16 Number(KvSide side, int head, int64_t token, int c) const {
    return pages_[token / kPageTokens].at(side, head, static_cast<int>(token % kPageTokens), c);
  }
  KvPageKind KindAt(int64_t token) const {
    const bool sink = token < kSinkTokens;
    return sink ? KvPageKind::kBf16 : kinds_[token / kPageTokens];
  }
  // A token's group in the code.
  const CodedGroup& GroupAt(KvSide side, int head, int64_t token, int c) const {
    const int row = (side == KvSide::kKey ? 0 : shape_.kv_heads) + head;
    return groups_[token / kPageTokens][row * shape_.head_dim + c];
  }
  int AnchorBits(KvSide side) const { return side == KvSide::kKey ? split_.k_bits : split_.v_bits; }

  cuda::AttentionSequence Rows(int64_t first_position, int32_t rows, int32_t row_begin = 0) const {
    return {.pages = refs_->data(),
            .sinks = sinks_->data(),
            .page_stride = std::ssize(pages_),
            .first_position = first_position,
            .row_begin = row_begin,
            .rows = rows};
  }
  // Device bytes of a page of kind kBf16.
  const std::byte* Page(int64_t page) const { return host_refs_[page].data; }

 private:
  void AddPage(KvPageKind kind) {
    const auto page = static_cast<int64_t>(kinds_.size());
    const int first_token = page == 0 ? kSinkTokens : 0;
    kinds_.push_back(kind);
    groups_.emplace_back();
    const PageNumbers& numbers = pages_.back();
    if (kind == KvPageKind::kBf16) {
      host_refs_.push_back({.data = Store(numbers.bytes())});
      return;
    }
    const auto blocks = CodePage(numbers, split_, first_token);
    REQUIRE(blocks.has_value());
    host_refs_.push_back({.data = Store(blocks->anchor),
                          .residual = kind == KvPageKind::kFull && !blocks->residual.empty()
                                          ? Store(blocks->residual)
                                          : nullptr,
                          .kind = cuda::KindOf(kind)});
    for (KvSide side : {KvSide::kKey, KvSide::kValue}) {
      for (int head = 0; head < shape_.kv_heads; ++head) {
        for (int c = 0; c < shape_.head_dim; ++c) {
          groups_.back().push_back(*CodeGroup(numbers, side, head, c, first_token));
        }
      }
    }
  }
  const std::byte* Store(const Bytes& bytes) {
    return blocks_.emplace_back(OnDevice(bytes)).data();
  }
  void Upload() {
    const std::byte* packed = Store(Packed(pages_[0], 0, kSinkTokens));
    sinks_.emplace(OnDevice(std::vector<const std::byte*>{nullptr, packed}));
    std::vector<cuda::PageRef> layers(host_refs_.size());
    layers.insert(layers.end(), host_refs_.begin(), host_refs_.end());
    refs_.emplace(OnDevice(layers));
  }

  KvShape shape_;
  KvSplit split_;
  int64_t tokens_;
  std::vector<PageNumbers> pages_;
  std::vector<KvPageKind> kinds_;
  std::vector<std::vector<CodedGroup>> groups_;  // [pages][K, V][kv_heads][head_dim], code only
  std::deque<DeviceArray<std::byte>> blocks_;
  std::vector<cuda::PageRef> host_refs_;
  std::optional<DeviceArray<cuda::PageRef>> refs_;
  std::optional<DeviceArray<const std::byte*>> sinks_;
};

// A query's result in double precision, and the scale of its errors.
struct Exact {
  std::vector<double> out;        // [head_dim]
  std::vector<double> magnitude;  // [head_dim]: sum of p |v|
};

// What a number of a page stands for: the part that multiplies and the part that is added.
struct ReadNumber {
  double factor, integer, offset;  // factor * integer + offset
};
inline ReadNumber NumberAt(const TestSequence& kv, KvSide side, int head, int64_t token, int c) {
  const KvPageKind kind = kv.KindAt(token);
  if (kind == KvPageKind::kBf16) return {1, ToFloat(kv.Number(side, head, token, c)), 0};
  const CodedGroup& group = kv.GroupAt(side, head, token, c);
  const int bits = kind == KvPageKind::kFull ? kCodeBits : kv.AnchorBits(side);
  const CodeScale scale = ScaleOf(ToFloat(group.lo), StepOf(group.k), bits);
  return {scale.step, static_cast<double>(group.codes[token % kPageTokens] >> (kCodeBits - bits)),
          scale.offset};
}

// The factor of the query as the kernel's specification rounds it; full pages: not rounded.
inline double QueryFactor(KvPageKind kind, float q, float scale, double step) {
  const float scaled = q * scale;
  if (kind == KvPageKind::kBf16) return ToFloat(ToBf16(scaled));
  const float folded = scaled * static_cast<float>(step);
  return kind == KvPageKind::kAnchor ? ToFloat(ToBf16(folded)) : static_cast<double>(folded);
}

// Attention of one query to the tokens whose places are listed, in that order.
inline Exact ExactAttention(const TestSequence& kv, const float* q, float scale, int head,
                            const std::vector<int64_t>& places) {
  const int d = kv.shape().head_dim;
  std::vector<double> weights;
  for (int64_t place : places) {
    double score = 0;
    for (int c = 0; c < d; ++c) {
      const ReadNumber k = NumberAt(kv, KvSide::kKey, head, place, c);
      score += QueryFactor(kv.KindAt(place), q[c], scale, k.factor) * k.integer +
               static_cast<double>(q[c] * scale) * k.offset;
    }
    weights.push_back(score);
  }
  const double max = *std::max_element(weights.begin(), weights.end());
  double sum = 0;
  for (double& w : weights) sum += w = std::exp(w - max);
  Exact exact{std::vector<double>(d), std::vector<double>(d)};
  for (size_t i = 0; i < places.size(); ++i) {
    for (int c = 0; c < d; ++c) {
      const ReadNumber v = NumberAt(kv, KvSide::kValue, head, places[i], c);
      exact.out[c] += weights[i] / sum * (v.factor * v.integer + v.offset);
      exact.magnitude[c] +=
          weights[i] / sum * (std::abs(v.factor * v.integer) + std::abs(v.offset));
    }
  }
  return exact;
}

}  // namespace lynx::testing
