// Names of KV targets and their geometry: the one place where a configured or received format is
// understood.
#pragma once

#include <string>
#include <string_view>

#include "model/kv_sequence.h"
#include "model/model_config.h"
#include "runtime/status.h"

namespace lynx {

// "int8", "bf16", or a baseline: "int8_whole", "int4_whole", "bf16_whole".
absl::StatusOr<KvTarget> ParseKvTarget(std::string_view name);
std::string_view KvTargetName(KvTarget target);

// INVALID_ARGUMENT unless the Anchor keeps 3 to 7 bits each of K and V. The baselines have their
// own widths and ignore `split`.
absl::StatusOr<KvGeometry> MakeKvGeometry(const ModelConfig& config, KvTarget target,
                                          KvSplit split);

}  // namespace lynx
