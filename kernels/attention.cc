#include "kernels/attention.h"

#include "kernels/cpu/attention_scratch.h"

namespace lynx {

int64_t AttentionSplits(const AttentionArgs& args) {
  constexpr int64_t kSplitTokens = static_cast<int64_t>(kAttentionSplitPages) * kPageTokens;
  return (args.first_position + args.rows + kSplitTokens - 1) / kSplitTokens;
}

size_t AttentionPartialFloats(const AttentionArgs& args, const AttentionShare& share) {
  const int64_t group = args.q_heads / args.shape.kv_heads;
  const int64_t queries = (share.row_end - share.row_begin) * group;
  return static_cast<size_t>(AttentionSplits(args) * queries * (args.shape.head_dim + 2));
}

size_t AttentionScratchBytes(const AttentionArgs& args, const AttentionShare&) {
  return CarveAttentionScratch(args.shape.head_dim, nullptr).bytes;
}

}  // namespace lynx
