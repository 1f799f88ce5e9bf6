// Who may work with whom: servers of equal identity compute equal bits (docs/exactness.md).
#pragma once

#include <string>
#include <string_view>

#include "model/kv_format.h"
#include "model/model_config.h"
#include "model/weights_hash.h"
#include "proto/lynx.pb.h"
#include "runtime/status.h"

namespace lynx {

// Raised with every change that alters a bit of any result: arithmetic, code, sampling. Kernel
// tiers are not part of it, because they give the same bits.
inline constexpr char kArithmeticVersion[] = "3";

// `backend` is the device's name; `arithmetic` what its bits depend on beside that, empty for a
// CPU.
v1::Identity MakeIdentity(const ModelConfig& config, const WeightsHash& weights, KvTarget target,
                          std::string_view backend, std::string_view arithmetic);

// "{weights_hash=... code_version=... backend=... architecture=... kv_target=... arithmetic=...}"
std::string ToString(const v1::Identity& identity);

// FAILED_PRECONDITION that names the fields that differ and both identities.
absl::Status CompareIdentity(const v1::Identity& ours, const v1::Identity& theirs);

}  // namespace lynx
