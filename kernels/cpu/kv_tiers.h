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

// The scalar tier's are in kv_code.h: the specification.
SplitResult SplitPageAvx2(const SplitPageArgs& args);
size_t TailEncodeAvx2(const TailEncodeArgs& args);
bool TailDecodeAvx2(const TailDecodeArgs& args);
SplitResult SplitPageAvx512(const SplitPageArgs& args);
size_t TailEncodeAvx512(const TailEncodeArgs& args);
bool TailDecodeAvx512(const TailDecodeArgs& args);
SplitResult SplitPageAvx512Bf16(const SplitPageArgs& args);
size_t TailEncodeAvx512Bf16(const TailEncodeArgs& args);
bool TailDecodeAvx512Bf16(const TailDecodeArgs& args);

}  // namespace lynx
