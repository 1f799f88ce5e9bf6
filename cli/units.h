// Quantities as people write them on a command line.
#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/kv_split.h"
#include "runtime/status.h"

namespace lynx {

// "100mbit", "1.5gbit", "64kbit", upper or lower case, decimal units: bits per second. "0" or
// "none": no limit, 0. INVALID_ARGUMENT.
absl::StatusOr<double> ParseBitRate(std::string_view text);

// "5,4" or "K5V4": the Anchor's bits of K and V, 3 to 7 each. INVALID_ARGUMENT.
absl::StatusOr<KvSplit> ParseAnchorBits(std::string_view text);

}  // namespace lynx
