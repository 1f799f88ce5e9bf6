// What the gateway knows of its servers, for the page and for scripts; docs/http-api.md.
#pragma once

#include <nlohmann/json.hpp>

#include "gateway/server_pool.h"

namespace lynx {

nlohmann::ordered_json PoolJson(const PoolState& pool);

}  // namespace lynx
