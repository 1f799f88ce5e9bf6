#include "model/sampling_noise.h"

#include "model/sampling_math.h"

namespace lynx {
namespace {

// Different for each use, so that no two uses of one seed share their bits.
constexpr uint64_t kChoiceSalt = 0x6c796e782d63686fu;
constexpr uint64_t kSeedSalt = 0x6c796e782d736565u;

}  // namespace

uint64_t DeriveSeed(uint64_t seed, uint64_t choice) {
  if (choice == 0) return seed;
  return Mix64(Mix64(seed ^ kChoiceSalt) + choice);
}

GumbelNoise::GumbelNoise(uint64_t seed, int64_t position)
    : key_(Mix64(Mix64(seed ^ kSeedSalt) + static_cast<uint64_t>(position))) {}

double GumbelNoise::Value(uint64_t bits) {
  const double u = (static_cast<double>(bits >> 12) + 0.5) * 0x1p-52;  // exact
  return -LogPositive(-LogPositive(u));
}

}  // namespace lynx
