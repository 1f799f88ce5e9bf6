// Attention and the KV code with AVX2. See simd.h for what such a file may not do.
#include "kernels/cpu/attention_share.h"
#include "kernels/cpu/kv_tiers.h"
#include "kernels/cpu/split_page.h"
#include "kernels/cpu/tail.h"
#include "kernels/kv_code.h"

namespace lynx {

void AttendAvx2(const AttentionArgs& args, const AttentionShare& share, std::byte* scratch) {
  // A vector that reaches beyond head_dim would touch the next pair's row.
  if (args.shape.head_dim % kLanes == 0) return AttendWith<SimdLanes>(args, share, scratch);
  AttendWith<ScalarLanes>(args, share, scratch);
}

SplitResult SplitPageAvx2(const SplitPageArgs& args) {
  return args.shape.head_dim % 8 == 0 ? SplitPageVectors(args) : SplitPage(args);
}
size_t TailEncodeAvx2(const TailEncodeArgs& args) { return TailEncodeVectors(args); }
bool TailDecodeAvx2(const TailDecodeArgs& args) { return TailDecodeVectors(args); }

}  // namespace lynx
