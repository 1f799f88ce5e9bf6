// The loops of attention over the arithmetic in attention_inl.h, for one tier's lanes `S`. Included
// by the tiers' files only; S lives in an anonymous namespace there, so every instantiation stays
// in its file and its instruction set.
#pragma once

#include <algorithm>
#include <cstring>

#include "kernels/attention.h"
#include "kernels/attention_inl.h"
#include "kernels/cpu/attention_lanes.h"
#include "kernels/cpu/attention_scratch.h"
#include "kernels/cpu/load_again.h"
#include "kernels/cpu/page_prefetch.h"

namespace lynx {
namespace {

// Rows of BF16 pairs: [pairs][lanes][2]. Edge rows stand in for the first and last pair where one
// of the two tokens is not valid.
template <class S>
struct Bf16Rows {
  static constexpr bool kBf16Pairs = S::kBf16Pairs;
  const std::byte* base;
  int64_t pair_bytes;
  int first_pair = -1, last_pair = -1;
  const std::byte* first_edge = nullptr;
  const std::byte* last_edge = nullptr;

  const std::byte* At(int pair) const {
    if (pair == first_pair) return first_edge;
    if (pair == last_pair) return last_edge;
    return base + pair * pair_bytes;
  }
  typename S::F Odd(const std::byte* row, int lane) const { return S::LoadOdd(row + lane * 4); }
  typename S::F Even(const std::byte* row, int lane) const { return S::LoadEven(row + lane * 4); }
};

// Rows of integers: [rows][lanes] bytes.
template <class S>
struct CodeRows {
  static constexpr bool kBf16Pairs = false;
  const uint8_t* base;
  int64_t row_bytes;

  const uint8_t* At(int pair) const { return base + 2 * pair * row_bytes; }
  typename S::F Odd(const uint8_t* row, int lane) const {
    return S::LoadBytes(row + row_bytes + lane);
  }
  typename S::F Even(const uint8_t* row, int lane) const { return S::LoadBytes(row + lane); }
};

// Chain for BF16 rows and factors, where one instruction does both products of a pair.
template <class S, int R, int J>
[[gnu::always_inline]] inline void PairChain(const Bf16Rows<S>& rows, int pair_begin, int pair_end,
                                             int lane, const float* w, int64_t w_stride,
                                             typename S::F (&acc)[R][J]) {
  for (int pair = pair_begin; pair < pair_end; ++pair) {
    const std::byte* row = rows.At(pair) + lane * 4;
    typename S::Pairs x[J];
#pragma GCC unroll 8
    for (int j = 0; j < J; ++j) x[j] = S::LoadPairs(row + j * S::kLanes * 4);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const typename S::Pairs factors = S::FillPairs(w + r * w_stride + pair);
#pragma GCC unroll 8
      for (int j = 0; j < J; ++j) S::FmaPairs(acc[r][j], x[j], factors);
    }
  }
}

// acc[r][j] = chain over pairs, odd first: fma(w[r][2 pair + 1 or 0], row element of lane vector
// j).
template <class S, int R, int J, class Rows>
[[gnu::always_inline]] inline void Chain(const Rows& rows, int pair_begin, int pair_end, int lane,
                                         const float* w, int64_t w_stride,
                                         typename S::F (&acc)[R][J]) {
  using F = typename S::F;
  if constexpr (Rows::kBf16Pairs) {
    return PairChain<S, R, J>(rows, pair_begin, pair_end, lane, w, w_stride, acc);
  }
  for (int pair = pair_begin; pair < pair_end; ++pair) {
    const auto* row = rows.At(pair);
    const float* weight = w + 2 * pair;
    F x[J];
#pragma GCC unroll 8
    for (int j = 0; j < J; ++j) x[j] = rows.Odd(row, lane + j * S::kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const F factor(weight[r * w_stride + 1]);
#pragma GCC unroll 8
      for (int j = 0; j < J; ++j) S::FmaInto(acc[r][j], x[j], factor);
    }
    row = LoadAgain(row);
#pragma GCC unroll 8
    for (int j = 0; j < J; ++j) x[j] = rows.Even(row, lane + j * S::kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const F factor(weight[r * w_stride]);
#pragma GCC unroll 8
      for (int j = 0; j < J; ++j) S::FmaInto(acc[r][j], x[j], factor);
    }
  }
}

// Query rows of one KV head against pages in order.
template <class S>
class AttentionBlock {
 public:
  using F = typename S::F;

  // Query row i of the block is row (first_query + i) / group, head first_query + i mod group of
  // the KV head's group.
  AttentionBlock(const AttentionArgs& args, int kv_head, int64_t first_query, int queries,
                 std::byte* memory)
      : args_(args),
        head_(kv_head),
        group_(args.q_heads / args.shape.kv_heads),
        d_(args.shape.head_dim),
        first_query_(first_query),
        queries_(queries),
        s_(CarveAttentionScratch(d_, memory)) {
    for (int i = 0; i < queries; ++i)
      position_[i] = args.first_position + (first_query + i) / group_;
    std::fill_n(s_.zeros, s_.stride, 0.0f);
    std::fill_n(s_.offset, s_.stride, 0.0f);
    LoadQueries();
  }

  // The result of one split is in result() afterwards.
  void RunSplit(int64_t split) {
    std::fill_n(max_, queries_, kNoScore);
    std::fill_n(sum_, queries_, 0.0f);
    std::fill_n(s_.out, queries_ * s_.stride, 0.0f);
    const int64_t end = std::min((split + 1) * kAttentionSplitPages, PageEnd());
    for (int64_t page = std::max(split * kAttentionSplitPages, PageBegin()); page < end; ++page) {
      if (page + 1 < PageEnd()) next_.Start(args_, head_, args_.pages[page + 1]);
      AddPage(page);
      next_.Finish();
    }
  }

  PartialRow result(int i) { return {&max_[i], &sum_[i], s_.out + i * s_.stride}; }

  // Splits that hold a page which some row of the block sees.
  int64_t SplitBegin() const { return PageBegin() / kAttentionSplitPages; }
  int64_t SplitEnd() const { return (PageEnd() + kAttentionSplitPages - 1) / kAttentionSplitPages; }

 private:
  int64_t PageBegin() const {
    if (args_.window <= 0) return 0;
    return std::max<int64_t>(0, position_[0] + 1 - args_.window) / kPageTokens;
  }
  int64_t PageEnd() const { return position_[queries_ - 1] / kPageTokens + 1; }

  void LoadQueries() {
    for (int i = 0; i < queries_; ++i) {
      const int64_t query = first_query_ + i;
      const float* q = args_.q + query / group_ * args_.q_stride +
                       (head_ * group_ + query % group_) * static_cast<int64_t>(d_);
      float* scaled = s_.q + i * s_.stride;
      float* rounded = s_.q_bf16 + i * s_.stride;
      for (int c = 0; c < d_; c += S::kLanes) {
        const F x = S::Load(q + c) * F(args_.scale);
        S::Store(scaled + c, x);
        S::StoreBf16Factors(rounded, c, x);
      }
      std::fill(scaled + d_, scaled + s_.stride, 0.0f);
    }
  }

  // Sets the rows' ranges and their union for tokens [limit.begin, limit.end) of a page; false if
  // no row sees any of them.
  bool SetRanges(int64_t page, TokenRange limit) {
    const int64_t start = page * kPageTokens;
    all_ = {kPageTokens, 0};
    mixed_ = false;
    for (int i = 0; i < queries_; ++i) {
      const int64_t first = args_.window > 0 ? position_[i] + 1 - args_.window - start : 0;
      TokenRange& r = range_[i];
      r.begin = static_cast<int>(std::clamp<int64_t>(first, limit.begin, kPageTokens));
      r.end = static_cast<int>(std::clamp<int64_t>(position_[i] + 1 - start, 0, limit.end));
      if (r.empty()) r = {0, 0};
      mixed_ |= !(r == range_[0]);
      if (r.empty()) continue;
      all_ = {std::min(all_.begin, r.begin), std::max(all_.end, r.end)};
    }
    return !all_.empty();
  }

  void AddPage(int64_t page) {
    const KvPageRef& ref = args_.pages[page];
    const int64_t key_bytes = static_cast<int64_t>(d_) * kPageTokens * sizeof(bf16);
    if (ref.kind == KvPageKind::kBf16) {
      const std::byte* keys = ref.data + head_ * key_bytes;
      AddBf16Page(page, {0, kPageTokens}, keys, keys + args_.shape.kv_heads * key_bytes);
      return;
    }
    if (page == 0) {
      FillSinksPage();
      AddBf16Page(0, {0, kSinkTokens}, s_.sinks, s_.sinks + key_bytes);
    }
    AddCodePage(page, {page == 0 ? kSinkTokens : 0, kPageTokens}, ref);
  }

  void FillSinksPage() {
    const KvShape one_head{1, d_};
    auto* page = reinterpret_cast<bf16*>(s_.sinks);
    const size_t side = static_cast<size_t>(args_.shape.kv_heads) * d_;
    for (int token = 0; token < kSinkTokens; ++token) {
      const std::byte* key = args_.sinks + (2 * token * side + static_cast<size_t>(head_) * d_) * 2;
      for (int c = 0; c < d_; ++c) {
        std::memcpy(page + KeyIndex(one_head, 0, token, c), key + c * 2, 2);
        std::memcpy(page + ValueIndex(one_head, 0, token, c), key + (side + c) * 2, 2);
      }
    }
  }

  void AddBf16Page(int64_t page, TokenRange limit, const std::byte* keys, const std::byte* values) {
    if (!SetRanges(page, limit)) return;
    const Bf16Rows<S> key_rows{keys, kPageTokens * 4};
    Scores(key_rows, s_.q_bf16, nullptr);
    Softmax(/*round_weights=*/true);
    const Bf16Rows<S> rows = ValueRows(values, all_);
    if (!mixed_ || AllFinite(rows)) {
      Values(rows, all_, 0, queries_, nullptr, nullptr);
      return;
    }
    for (int i = 0; i < queries_; ++i) {
      if (range_[i].empty()) continue;
      Values(ValueRows(values, range_[i]), range_[i], i, i + 1, nullptr, nullptr);
    }
  }

  // A head's V rows without the tokens outside `range` that share a pair with one inside.
  Bf16Rows<S> ValueRows(const std::byte* values, TokenRange range) const {
    const int64_t pair_bytes = static_cast<int64_t>(d_) * 4;
    Bf16Rows<S> rows{values, pair_bytes};
    if (range.begin % 2 != 0) {
      rows.first_pair = range.begin / 2;
      rows.first_edge = s_.edges;
      MaskPairs(values + rows.first_pair * pair_bytes, 0xffff0000u, s_.edges);
    }
    if (range.end % 2 != 0) {
      rows.last_pair = range.end / 2;
      rows.last_edge = s_.edges + pair_bytes;
      MaskPairs(values + rows.last_pair * pair_bytes, 0x0000ffffu, s_.edges + pair_bytes);
    }
    return rows;
  }

  void MaskPairs(const std::byte* pairs, uint32_t keep, std::byte* masked) const {
    for (int c = 0; c < d_; ++c) {
      uint32_t both;
      std::memcpy(&both, pairs + c * 4, 4);
      both &= keep;
      std::memcpy(masked + c * 4, &both, 4);
    }
  }

  // Whether a weight of 0 may meet every value of all_ (0 * Inf would not be 0).
  bool AllFinite(const Bf16Rows<S>& rows) const {
    F zeros[kTreeLanes / S::kLanes];
    for (F& z : zeros) z = F(0.0f);
    for (int pair = all_.begin / 2; pair < (all_.end + 1) / 2; ++pair) {
      const std::byte* row = rows.At(pair);
      for (int c = 0; c < d_; c += S::kLanes) {
        zeros[0] = Fma(rows.Odd(row, c), F(0.0f), zeros[0]);
        zeros[0] = Fma(rows.Even(row, c), F(0.0f), zeros[0]);
      }
    }
    return S::TreeSum16(zeros) == 0.0f;
  }

  void AddCodePage(int64_t page, TokenRange limit, const KvPageRef& ref) {
    if (!SetRanges(page, limit)) return;
    const bool full = ref.kind == KvPageKind::kFull;
    const CodeRows<S> keys{s_.codes, kPageTokens};
    LoadCodes(ref, KvSide::kKey, full);
    for (int i = 0; i < queries_; ++i) {
      const float* q = s_.q + i * s_.stride;
      float* folded = s_.q_folded + i * s_.stride;
      for (int c = 0; c < d_; c += S::kLanes) {
        S::Store(folded + c, S::Load(q + c) * S::Load(s_.step + c));
      }
      base_[i] = Dot16<S>(q, s_.offset, d_);
    }
    Scores(keys, s_.q_folded, base_);
    Softmax(/*round_weights=*/false);

    const CodeRows<S> values{s_.codes, d_};
    LoadCodes(ref, KvSide::kValue, full);
    if (!mixed_ || Dot16<S>(s_.offset, s_.zeros, d_) == 0.0f) {
      Values(values, all_, 0, queries_, s_.step, s_.offset);
      return;
    }
    for (int i = 0; i < queries_; ++i) {
      if (!range_[i].empty()) Values(values, range_[i], i, i + 1, s_.step, s_.offset);
    }
  }

  void LoadCodes(const KvPageRef& ref, KvSide side, bool full) {
    const CodePart part =
        FindCodePart(args_.shape, args_.split, head_, side, ref.data, ref.residual);
    UnpackGroups<S>(part, d_, full ? kCodeBits : part.anchor_bits, s_.step, s_.offset);
    next_.Step();
    UnpackCodes<S>(part, d_, side, full, s_.codes);
  }

  // f.template operator()<R>(i) for tiles of R query rows from row i.
  template <class Function>
  static void ForTiles(int begin, int end, const Function& f) {
    int i = begin;
    for (; end - i >= S::kTileRows; i += S::kTileRows) f.template operator()<S::kTileRows>(i);
    switch (end - i) {
      case 1:
        return f.template operator()<1>(i);
      case 2:
        return f.template operator()<2>(i);
      case 3:
        return f.template operator()<3>(i);
      case 4:
        return f.template operator()<4>(i);
      case 5:
        return f.template operator()<5>(i);
      default:
        return;
    }
  }

  // Out of line, as ValueTile: inside a larger function the compiler runs out of registers.
  template <int R, int J, class Rows>
  [[gnu::noinline]] void ScoreTile(const Rows& keys, int i, int token, const float* q,
                                   const float* base) {
    next_.Step();
    F acc[R][J];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
      for (int j = 0; j < J; ++j) acc[r][j] = F(base == nullptr ? 0.0f : base[i + r]);
    }
    Chain<S, R, J>(keys, 0, d_ / 2, token, q + i * s_.stride, s_.stride, acc);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      float* scores = s_.scores + (i + r) * kPageTokens + token;
#pragma GCC unroll 8
      for (int j = 0; j < J; ++j) S::Store(scores + j * S::kLanes, acc[r][j]);
    }
  }

  template <class Rows>
  void Scores(const Rows& keys, const float* q, const float* base) {
    ForTiles(0, queries_, [&]<int R>(int i) {
      constexpr int J = std::min(S::TileVectors(R), kPageTokens / S::kLanes);
      constexpr int kTokens = J * S::kLanes;
      for (int t = all_.begin / kTokens * kTokens; t < all_.end; t += kTokens) {
        ScoreTile<R, J>(keys, i, t, q, base);
      }
    });
  }

  void Softmax(bool round_weights) {
    for (int i = 0; i < queries_; ++i) {
      float* scores = s_.scores + i * kPageTokens;
      if (range_[i].empty()) {
        std::fill_n(scores, kPageTokens, 0.0f);
        steps_[i] = {1.0f, 0.0f};
        continue;
      }
      next_.Step();
      steps_[i] = SoftmaxPage<S>(range_[i], round_weights, scores, &max_[i], &sum_[i]);
    }
  }

  template <int R, int J, class Rows>
  [[gnu::noinline]] void ValueTile(const Rows& rows, TokenRange range, int i, int channel,
                                   const float* step, const float* offset) {
    next_.Step();
    F acc[R][J];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
      for (int j = 0; j < J; ++j) acc[r][j] = F(0.0f);
    }
    Chain<S, R, J>(rows, range.begin / 2, (range.end + 1) / 2, channel, s_.scores + i * kPageTokens,
                   kPageTokens, acc);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const SoftmaxStep softmax = steps_[i + r];
#pragma GCC unroll 8
      for (int j = 0; j < J; ++j) {
        const int c = channel + j * S::kLanes;
        F v = acc[r][j];
        if (step != nullptr) v = Fma(S::Load(step + c), v, S::Load(offset + c) * F(softmax.sum));
        float* out = s_.out + (i + r) * s_.stride + c;
        S::Store(out, Fma(S::Load(out), F(softmax.alpha), v) + F(0.0f));
      }
    }
  }

  // Adds the page's output to rows [begin, end); step and offset are null for BF16 values.
  template <class Rows>
  void Values(const Rows& rows, TokenRange range, int begin, int end, const float* step,
              const float* offset) {
    ForTiles(begin, end, [&]<int R>(int i) {
      constexpr int J = S::TileVectors(R);
      int c = 0;
      for (; c + J * S::kLanes <= d_; c += J * S::kLanes) {
        ValueTile<R, J>(rows, range, i, c, step, offset);
      }
      for (; c < d_; c += S::kLanes) ValueTile<R, 1>(rows, range, i, c, step, offset);
    });
  }

  const AttentionArgs& args_;
  const int head_, group_, d_;
  const int64_t first_query_;
  const int queries_;
  const AttentionScratch s_;

  int64_t position_[kQueryBlock];
  float max_[kQueryBlock], sum_[kQueryBlock], base_[kQueryBlock];
  SoftmaxStep steps_[kQueryBlock];
  TokenRange range_[kQueryBlock];
  PagePrefetch next_;
  TokenRange all_;      // union of range_ for the page at hand
  bool mixed_ = false;  // ranges differ
};

}  // namespace
}  // namespace lynx
