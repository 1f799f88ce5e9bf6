// One worker's share of attention, for one tier's lanes.
#pragma once

#include <algorithm>

#include "kernels/cpu/attention_loops.h"

namespace lynx {
namespace {

template <class S>
class AttentionShareRunner {
 public:
  AttentionShareRunner(const AttentionArgs& args, const AttentionShare& share, std::byte* scratch)
      : args_(args),
        share_(share),
        scratch_(scratch),
        d_(args.shape.head_dim),
        group_(args.q_heads / args.shape.kv_heads),
        queries_((share.row_end - share.row_begin) * group_) {}

  void Run() {
    for (int64_t begin = 0; begin < queries_; begin += kQueryBlock) {
      const int count = static_cast<int>(std::min<int64_t>(kQueryBlock, queries_ - begin));
      switch (share_.phase) {
        case AttentionShare::Phase::kWhole:
          Whole(begin, count);
          break;
        case AttentionShare::Phase::kSplits:
          Splits(begin, count);
          break;
        case AttentionShare::Phase::kMerge:
          Merge(begin, count);
          break;
      }
    }
  }

 private:
  AttentionBlock<S> Block(int64_t begin, int count) const {
    return AttentionBlock<S>(args_, share_.kv_head, share_.row_begin * group_ + begin, count,
                             scratch_);
  }

  void Whole(int64_t begin, int count) {
    AttentionBlock<S> block = Block(begin, count);
    const AttentionScratch s = CarveAttentionScratch(d_, scratch_);
    ClearTotals(count, s);
    for (int64_t split = block.SplitBegin(); split < block.SplitEnd(); ++split) {
      block.RunSplit(split);
      for (int i = 0; i < count; ++i) {
        const PartialRow part = block.result(i);
        MergePartial<S>(Total(i, s), part.max, part.sum, part.out, d_);
      }
    }
    for (int i = 0; i < count; ++i) WriteOut(begin + i, Total(i, s));
  }

  void Splits(int64_t begin, int count) {
    AttentionBlock<S> block = Block(begin, count);
    for (int64_t split = share_.split_begin; split < share_.split_end; ++split) {
      block.RunSplit(split);
      for (int i = 0; i < count; ++i) {
        const PartialRow part = block.result(i);
        float* to = Partial(split, begin + i);
        to[0] = *part.max;
        to[1] = *part.sum;
        std::copy_n(part.out, d_, to + 2);
      }
    }
  }

  void Merge(int64_t begin, int count) {
    const AttentionScratch s = CarveAttentionScratch(d_, scratch_);
    ClearTotals(count, s);
    const int64_t splits = AttentionSplits(args_);
    for (int i = 0; i < count; ++i) {
      for (int64_t split = 0; split < splits; ++split) {
        const float* part = Partial(split, begin + i);
        MergePartial<S>(Total(i, s), part, part + 1, part + 2, d_);
      }
      WriteOut(begin + i, Total(i, s));
    }
  }

  void ClearTotals(int count, const AttentionScratch& s) {
    std::fill_n(max_, count, kNoScore);
    std::fill_n(sum_, count, 0.0f);
    std::fill_n(s.total, count * s.stride, 0.0f);
  }
  PartialRow Total(int i, const AttentionScratch& s) {
    return {&max_[i], &sum_[i], s.total + i * s.stride};
  }

  // [split][query row of the share][max, sum, out]
  float* Partial(int64_t split, int64_t query) const {
    return share_.partials + (split * queries_ + query) * (d_ + 2);
  }

  void WriteOut(int64_t query, const PartialRow& total) const {
    const int64_t row = share_.row_begin + query / group_;
    const int64_t head = static_cast<int64_t>(share_.kv_head) * group_ + query % group_;
    bf16* out = args_.out + (row * args_.q_heads + head) * d_;
    for (int c = 0; c < d_; c += S::kLanes) {
      S::StoreBf16(out + c, S::Load(total.out + c) / typename S::F(*total.sum));
    }
  }

  const AttentionArgs& args_;
  const AttentionShare& share_;
  std::byte* const scratch_;
  const int d_, group_;
  const int64_t queries_;
  float max_[kQueryBlock], sum_[kQueryBlock];
};

template <class S>
void AttendWith(const AttentionArgs& args, const AttentionShare& share, std::byte* scratch) {
  AttentionShareRunner<S>(args, share, scratch).Run();
}

}  // namespace
}  // namespace lynx
