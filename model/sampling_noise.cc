#include "model/sampling_noise.h"

namespace lynx {
namespace {

// Not the noise's: no two uses of one seed share their bits.
constexpr uint64_t kChoiceSalt = 0x6c796e782d63686fu;

}  // namespace

uint64_t DeriveSeed(uint64_t seed, uint64_t choice) {
  if (choice == 0) return seed;
  return Mix64(Mix64(seed ^ kChoiceSalt) + choice);
}

}  // namespace lynx
