// The start-up check of a tier's KV code and attention, beside self_test.h.
#pragma once

#include <string_view>

#include "kernels/ops.h"

namespace lynx {

// The name of the first KV operation that differs from `reference`; empty if none does. Some
// milliseconds.
std::string_view FirstKvMismatch(const Kernels& tier, const Kernels& reference);

}  // namespace lynx
