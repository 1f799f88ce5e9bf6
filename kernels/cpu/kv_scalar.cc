// The scalar tier's attention: the specification in attention_inl.h, one lane at a time.
#include "kernels/cpu/attention_share.h"
#include "kernels/cpu/kv_tiers.h"

namespace lynx {

void AttendScalar(const AttentionArgs& args, const AttentionShare& share, std::byte* scratch) {
  AttendWith<ScalarLanes>(args, share, scratch);
}

}  // namespace lynx
