// The arithmetic of attention, written once for all CPU tiers: kernels/cpu/attention_loops.h adds
// the loops over blocks. `S` is a tier's set of lanes:
//   S::F                       a vector of S::kLanes floats, arithmetic as in math_inl.h
//   Load, Store, LoadBytes     lanes from floats, to floats, from uint8_t integers
//   FmaInto                    acc = Fma(a, b, acc)
//   StoreBf16Factors           (row, i, x): rounds x to BF16, ties to even, keeps it as factors i,
//                              i + 1 ... of a row for BF16 pages' chains, and returns it rounded;
//                              the row may be where x comes from
//   kBf16Pairs                 one instruction does both products of a pair: then those factors
//                              are BF16 pairs, and LoadPairs, FillPairs and FmaPairs are there
//   TreeSum16, TreeMax16       of 16 floats held in 16 / kLanes vectors: x[i] op x[i + 8], then
//                              + 4, + 2, + 1
//
// A page of 64 tokens, for a query row q (already rotated), f(x) = x rounded to float32:
//   BF16 page:  s_t = chain over pairs of channels, odd channel first, from +0:
//                 fma(bf16(q_c * scale), k_tc, s_t)
//   code page:  the same chain over integers n_tc with float32 factors, from b:
//                 fma(f(f(q_c * scale) * step_c), n_tc, s_t)
//               Anchor: n = A, step = s * 2^r, offset = fma(step, (1 - 2^-r) / 2, lo)
//               full:   n = q, step = s,       offset = lo
//               b = sum of f(q_c * scale) * offset_c: 16 lanes of fma chains (lane = c mod 16),
//               then TreeSum16
//   m' = max(m, TreeMax16 of the lanes' maxima over valid tokens), alpha = Exp(m - m') or 0 at
//   first p_t = Exp(s_t - m'), 0 for tokens that the row does not see; BF16 pages: rounded to BF16
//   sum = TreeSum16 of 16 lanes (t mod 16), each added up in order;  l = fma(l, alpha, sum)
//   v_c = chain over pairs of tokens, odd token first, from +0: fma(p_t, v_tc or n_tc, v_c)
//   code page: v_c = fma(step_c, v_c, f(offset_c * sum))
//   o_c = fma(o_c, alpha, v_c) + 0
// The sinks of a code page 0 are read first, as a BF16 page of their own with kSinkTokens tokens.
// The last + 0 turns -0 into +0; with it a token of weight 0 and a finite value leaves no trace, so
// that rows which see different tokens may share a loop. Splits start afresh and are merged in
// order (MergePartial); the output is bf16(o_c / l).
//
// Why so: p and q in BF16 let vdpbf16ps (odd product first, then even) do both products of a pair
// of BF16 pages, as the avx512_bf16 tier does. Code pages keep float32 factors instead: rounding q
// * step to BF16 would cost about 2^-9 a product, more than the 8-bit code's own error, and
// integers need no pairs to be exact.
#pragma once

#include <cstdint>
#include <limits>

#include "kernels/kv_layout_inl.h"
#include "kernels/math_inl.h"

namespace lynx {

inline constexpr float kNoScore = -std::numeric_limits<float>::infinity();
inline constexpr int kTreeLanes = 16;

// Tokens [begin, end) of a page that a row sees.
struct TokenRange {
  int begin = 0, end = 0;
  bool empty() const { return begin >= end; }
  friend bool operator==(const TokenRange&, const TokenRange&) = default;
};

// What the softmax over one page hands to the output of its row.
struct SoftmaxStep {
  float alpha;  // factor of what was summed before
  float sum;    // of this page's weights
};

// Turns the 64 scores of a page into weights and updates the row's running maximum and sum.
template <class S>
static inline SoftmaxStep SoftmaxPage(TokenRange range, bool round_weights, float* scores,
                                      float* max, float* sum) {
  using F = typename S::F;
  constexpr int kVectors = kTreeLanes / S::kLanes;
  for (int t = 0; t < range.begin; ++t) scores[t] = kNoScore;
  for (int t = range.end; t < kPageTokens; ++t) scores[t] = kNoScore;

  F lanes[kVectors];
  for (int v = 0; v < kVectors; ++v) lanes[v] = S::Load(scores + v * S::kLanes);
  for (int t = kTreeLanes; t < kPageTokens; t += kTreeLanes) {
    for (int v = 0; v < kVectors; ++v) {
      const F x = S::Load(scores + t + v * S::kLanes);
      lanes[v] = IfLess(lanes[v], x, x, lanes[v]);
    }
  }
  const float page_max = S::TreeMax16(lanes);
  const float old_max = *max;
  const float new_max = old_max < page_max ? page_max : old_max;

  const F shift(new_max);
  for (int v = 0; v < kVectors; ++v) lanes[v] = F(0.0f);
  for (int t = 0; t < kPageTokens; t += kTreeLanes) {
    for (int v = 0; v < kVectors; ++v) {
      const int at = t + v * S::kLanes;
      F p = ExpOf<F>(S::Load(scores + at) - shift);
      if (round_weights) {
        p = S::StoreBf16Factors(scores, at, p);
      } else {
        S::Store(scores + at, p);
      }
      lanes[v] = lanes[v] + p;
    }
  }
  const float page_sum = S::TreeSum16(lanes);
  const float alpha = old_max == kNoScore ? 0.0f : Exp(old_max - new_max);
  *max = new_max;
  *sum = Fma(*sum, alpha, page_sum);
  return {alpha, page_sum};
}

// sum of a[n] * b[n], both padded with zeros to a multiple of 16.
template <class S>
static inline float Dot16(const float* a, const float* b, int n) {
  using F = typename S::F;
  constexpr int kVectors = kTreeLanes / S::kLanes;
  F lanes[kVectors];
  for (int v = 0; v < kVectors; ++v) lanes[v] = F(0.0f);
  for (int c = 0; c < n; c += kTreeLanes) {
    for (int v = 0; v < kVectors; ++v) {
      const int at = c + v * S::kLanes;
      lanes[v] = Fma(S::Load(a + at), S::Load(b + at), lanes[v]);
    }
  }
  return S::TreeSum16(lanes);
}

// A row's result over a range of positions: sum of weights and of weighted values, relative to max.
struct PartialRow {
  float* max;
  float* sum;
  float* out;  // [head_dim]
};

// Adds `part`, whose positions lie behind `total`'s, to `total`. A part without tokens changes
// nothing.
template <class S>
static inline void MergePartial(PartialRow total, const float* part_max, const float* part_sum,
                                const float* part_out, int head_dim) {
  using F = typename S::F;
  if (*part_max == kNoScore) return;
  const float old_max = *total.max;
  const float new_max = old_max < *part_max ? *part_max : old_max;
  const float keep = old_max == kNoScore ? 0.0f : Exp(old_max - new_max);
  const float take = Exp(*part_max - new_max);
  *total.max = new_max;
  *total.sum = Fma(*total.sum, keep, *part_sum * take);
  for (int c = 0; c < head_dim; c += S::kLanes) {
    const F added = S::Load(part_out + c) * F(take);
    S::Store(total.out + c, Fma(S::Load(total.out + c), F(keep), added) + F(0.0f));
  }
}

}  // namespace lynx
