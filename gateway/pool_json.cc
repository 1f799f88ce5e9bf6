#include "gateway/pool_json.h"

namespace lynx {
namespace {

// Null while nothing is known.
nlohmann::ordered_json UsedPart(int64_t total, int64_t free) {
  if (total == 0) return nullptr;
  return static_cast<double>(total - free) / static_cast<double>(total);
}

}  // namespace

nlohmann::ordered_json PoolJson(const PoolState& pool) {
  return {{"model", pool.model_name},
          {"decode_ready", pool.decode_ready},
          {"decode_total", pool.decode_total},
          {"prefill_ready", pool.prefill_ready},
          {"requests_running", pool.requests_running},
          {"requests_waiting", pool.requests_waiting},
          {"decode_kv_used", UsedPart(pool.pages_total, pool.pages_free)},
          {"prefill_kv_used", UsedPart(pool.prefill_pages_total, pool.prefill_pages_free)},
          {"problem", pool.problem}};
}

}  // namespace lynx
