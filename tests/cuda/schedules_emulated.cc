#include <catch2/catch.hpp>

#include "simt.h"
#include "tests/cuda/schedules.h"

namespace lynx::testing {

void ForEachSchedule(const std::function<void()>& test) {
  const simt::Options before = simt::options();
  const simt::Stats stats = simt::stats();
  struct Schedule {
    uint64_t seed;
    bool deferred;
  };
  for (const Schedule s : {Schedule{0, true}, Schedule{1, false}, Schedule{2, true},
                           Schedule{3, false}, Schedule{4, true}}) {
    INFO("schedule seed " << s.seed << (s.deferred ? ", deferred" : ", eager") << " copies");
    simt::options().seed = s.seed;
    simt::options().cp_defer = s.deferred;
    test();
  }
  simt::options() = before;
  CHECK(simt::stats().ldsm_conflicts == stats.ldsm_conflicts);
  CHECK(simt::stats().smem_conflicts == stats.smem_conflicts);
}

}  // namespace lynx::testing
