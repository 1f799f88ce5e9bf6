#include <catch2/catch.hpp>
#include <span>

#include "simt.h"
#include "tests/cuda/schedules.h"

namespace lynx::testing {

namespace {

struct Schedule {
  uint64_t seed;
  bool deferred;
};
constexpr Schedule kSchedules[] = {{0, true}, {1, false}, {2, true}, {3, false}, {4, true}};

// What sanitizers watch, memory and barriers, shows in any order: one for each kind of copies.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr size_t kCount = 2;
#else
constexpr size_t kCount = std::size(kSchedules);
#endif

}  // namespace

void ForEachSchedule(const std::function<void()>& test) {
  const simt::Options before = simt::options();
  const simt::Stats stats = simt::stats();
  for (const Schedule& s : std::span(kSchedules).first(kCount)) {
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
