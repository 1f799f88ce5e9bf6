#include "model/kv_format.h"

#include <array>
#include <utility>

namespace lynx {
namespace {

constexpr std::array<std::pair<KvTarget, std::string_view>, 5> kNames = {{
    {KvTarget::kInt8, "int8"},
    {KvTarget::kBf16, "bf16"},
    {KvTarget::kInt8Whole, "int8_whole"},
    {KvTarget::kInt4Whole, "int4_whole"},
    {KvTarget::kBf16Whole, "bf16_whole"},
}};

bool InRange(int bits) { return bits >= 3 && bits <= 7; }

}  // namespace

absl::StatusOr<KvTarget> ParseKvTarget(std::string_view name) {
  for (const auto& [target, known] : kNames) {
    if (known == name) return target;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "unknown KV target '", ToAbsl(name), "': int8, bf16, int8_whole, int4_whole or bf16_whole"));
}

std::string_view KvTargetName(KvTarget target) {
  for (const auto& [known, name] : kNames) {
    if (known == target) return name;
  }
  return "?";
}

absl::StatusOr<KvGeometry> MakeKvGeometry(const ModelConfig& config, KvTarget target,
                                          KvSplit split) {
  if (target == KvTarget::kInt8Whole) split = {8, 8};
  if (target == KvTarget::kInt4Whole || target == KvTarget::kBf16Whole) split = {4, 4};
  if (target != KvTarget::kInt8Whole && (!InRange(split.k_bits) || !InRange(split.v_bits))) {
    return absl::InvalidArgumentError(
        absl::StrCat("Anchor bits K", split.k_bits, "V", split.v_bits, ": 3 to 7 each"));
  }
  return KvGeometry{.layers = static_cast<int>(config.layers),
                    .shape = {static_cast<int>(config.kv_heads), static_cast<int>(config.head_dim)},
                    .split = split,
                    .target = target};
}

}  // namespace lynx
