// Attention with AVX-512-BF16. See simd.h for what such a file may not do.
#include "kernels/cpu/attention_share.h"
#include "kernels/cpu/kv_tiers.h"

namespace lynx {

void AttendAvx512Bf16(const AttentionArgs& args, const AttentionShare& share, std::byte* scratch) {
  // A vector that reaches beyond head_dim would touch the next pair's row.
  if (args.shape.head_dim % kLanes == 0) return AttendWith<SimdLanes>(args, share, scratch);
  AttendWith<ScalarLanes>(args, share, scratch);
}

}  // namespace lynx
