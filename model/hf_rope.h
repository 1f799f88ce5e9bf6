// RoPE's fields in a config.json, in all their spellings.
#pragma once

#include "model/json_file.h"
#include "model/model_config.h"
#include "runtime/status.h"

namespace lynx {

// Reads rope_theta and rope_scaling ("type" or "rope_type"), or rope_parameters with both inside,
// and raises config->max_context to what the scaling makes of it. Scalings linear, llama3 and yarn.
absl::Status ReadHfRope(const JsonFields& fields, ModelConfig* config);

}  // namespace lynx
