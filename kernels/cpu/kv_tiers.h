// The KV code and attention of each CPU tier, for its table (tiers.h).
#pragma once

#include <cstddef>

#include "kernels/attention.h"
#include "kernels/kv_split.h"

namespace lynx {

void AttendScalar(const AttentionArgs& args, const AttentionShare& share, std::byte* scratch);
void AttendAvx2(const AttentionArgs& args, const AttentionShare& share, std::byte* scratch);
void AttendAvx512(const AttentionArgs& args, const AttentionShare& share, std::byte* scratch);
void AttendAvx512Bf16(const AttentionArgs& args, const AttentionShare& share, std::byte* scratch);

}  // namespace lynx
