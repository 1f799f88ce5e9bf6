#include "cli/units.h"

#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"

namespace lynx {
namespace {

// One byte a second, and beyond any link.
constexpr double kBitRateMin = 8;
constexpr double kBitRateMax = 1e13;

bool ParseBits(char c, int* bits) {
  *bits = c - '0';
  return *bits >= 3 && *bits <= 7;
}

}  // namespace

absl::StatusOr<double> ParseBitRate(std::string_view text) {
  const std::string lower = absl::AsciiStrToLower(ToAbsl(text));
  if (lower == "0" || lower == "none") return 0.0;
  absl::string_view number = lower;
  double unit = 0;
  if (absl::ConsumeSuffix(&number, "kbit")) unit = 1e3;
  if (unit == 0 && absl::ConsumeSuffix(&number, "mbit")) unit = 1e6;
  if (unit == 0 && absl::ConsumeSuffix(&number, "gbit")) unit = 1e9;
  double value = 0;
  const bool plain = number.find_first_not_of("0123456789.") == absl::string_view::npos;
  if (unit == 0 || !plain || !absl::SimpleAtod(number, &value) || value * unit < kBitRateMin ||
      value * unit > kBitRateMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", ToAbsl(text), "\" is no link rate: write 500kbit, 100mbit or 1gbit"));
  }
  return value * unit;
}

absl::StatusOr<KvSplit> ParseAnchorBits(std::string_view text) {
  const std::string lower = absl::AsciiStrToLower(ToAbsl(text));
  KvSplit split;
  const bool pair = lower.size() == 3 && lower[1] == ',' && ParseBits(lower[0], &split.k_bits) &&
                    ParseBits(lower[2], &split.v_bits);
  const bool name = lower.size() == 4 && lower[0] == 'k' && lower[2] == 'v' &&
                    ParseBits(lower[1], &split.k_bits) && ParseBits(lower[3], &split.v_bits);
  if (pair || name) return split;
  return absl::InvalidArgumentError(
      absl::StrCat("\"", ToAbsl(text),
                   "\" is no split: write the Anchor's bits of K and V, 3 to 7 each, as 5,4"));
}

}  // namespace lynx
