// The noise of Gumbel-max sampling: a pure function of (derived seed, absolute position, token id).
//
// Adding it to the scaled logits and taking the largest draws from their softmax. As it depends on
// nothing else, a draft, its verification and a retry on another server draw the same token from
// the same logits.
#pragma once

#include <cstdint>

#include "kernels/sampling_inl.h"  // GumbelNoise, Mix64

namespace lynx {

// The seed of choice i of a request with n > 1; choice 0 has the request's seed itself.
uint64_t DeriveSeed(uint64_t seed, uint64_t choice);

}  // namespace lynx
