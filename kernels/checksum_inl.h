// A checksum of many bytes whose words may be taken in any order, so that a GPU can take them side
// by side: the sum, modulo 2^64, of a mix of each 8-byte word with its number. Found are flipped
// bits, lost, repeated and exchanged words, all but one in 2^64; it keeps out no attacker.
#pragma once

#include <cstdint>

#include "kernels/math_inl.h"

namespace lynx {

// The finalizer of MurmurHash3 (Austin Appleby): every bit of the input reaches every bit of the
// result.
LYNX_EXACT uint64_t MixBits(uint64_t x) {
  x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdu;
  x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53u;
  return x ^ (x >> 33);
}

// What word number `index`, little-endian, adds to the sum; a last word of fewer bytes has zeros
// for the others. Numbers are first mixed with 2^64 divided by the golden ratio.
LYNX_EXACT uint64_t ChecksumTerm(uint64_t word, uint64_t index) {
  return MixBits(word ^ ((index + 1) * 0x9e3779b97f4a7c15u));
}

// The checksum of `bytes` bytes whose terms add up to `sum`. Never 0: that stands for none.
LYNX_EXACT uint64_t FinishChecksum(uint64_t sum, uint64_t bytes) {
  const uint64_t checksum = MixBits(sum ^ bytes);
  return checksum == 0 ? 1 : checksum;
}

}  // namespace lynx
