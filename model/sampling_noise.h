// The noise of Gumbel-max sampling: a pure function of (derived seed, absolute position, token id).
//
// Adding it to the scaled logits and taking the largest draws from their softmax. As it depends on
// nothing else, a draft, its verification and a retry on another server draw the same token from
// the same logits.
#pragma once

#include <bit>
#include <cstdint>

namespace lynx {

// The seed of choice i of a request with n > 1; choice 0 has the request's seed itself.
uint64_t DeriveSeed(uint64_t seed, uint64_t choice);

// A bijection of 64 bits in which every input bit sways every output bit (SplitMix64's output
// function).
constexpr uint64_t Mix64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// The noise of one row.
class GumbelNoise {
 public:
  GumbelNoise(uint64_t seed, int64_t position);

  // 64 random bits of this token.
  uint64_t Bits(int32_t id) const {
    return Mix64(key_ + kStep * static_cast<uint64_t>(static_cast<uint32_t>(id)));
  }

  // -ln(-ln(u)), u = (bits >> 12, plus a half) / 2^52: between -3.7 and kMax.
  static double Value(uint64_t bits);

  // Not below Value(bits), and cheap: -ln(u) >= 1 - u >= 2^-(leading ones + 1).
  static double UpperBound(uint64_t bits) {
    const int ones = std::countl_one(bits);
    return (ones < 52 ? ones + 1 : 53) * kAboveLn2;
  }

  static constexpr double kMax = 36.74;  // 53 ln 2 is 36.7368

 private:
  static constexpr uint64_t kStep = 0x9e3779b97f4a7c15u;  // 2^64 / golden ratio, odd
  static constexpr double kAboveLn2 = 0.6931472;
  uint64_t key_;
};

}  // namespace lynx
