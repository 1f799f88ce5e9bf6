// What sampling does to one logit, for host and device: adjusting, noise, the order of candidates,
// mass. model/sampling.h says what it is for; the same functions serve every backend, so that each
// draws the same token from the same logits.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

#include "kernels/sampling_math_inl.h"

namespace lynx {

// Vocabularies that the arithmetic of top_p has room for.
inline constexpr int64_t kMaxSamplingVocab = int64_t{1} << 23;

// Below it the choice is greedy.
inline constexpr double kGreedyTemperature = 1e-5;

// ---- noise

// A bijection of 64 bits in which every input bit sways every output bit (SplitMix64's output
// function).
LYNX_HOST_DEVICE constexpr uint64_t Mix64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// The noise of one row.
class GumbelNoise {
 public:
  LYNX_HOST_DEVICE GumbelNoise(uint64_t seed, int64_t position)
      : key_(Mix64(Mix64(seed ^ kSeedSalt) + static_cast<uint64_t>(position))) {}

  // 64 random bits of this token.
  LYNX_HOST_DEVICE uint64_t Bits(int32_t id) const {
    return Mix64(key_ + kStep * static_cast<uint64_t>(static_cast<uint32_t>(id)));
  }

  // -ln(-ln(u)), u = (bits >> 12, plus a half) / 2^52: between -3.7 and kMax.
  LYNX_HOST_DEVICE static double Value(uint64_t bits) {
    const double u = (static_cast<double>(bits >> 12) + 0.5) * 0x1p-52;  // exact
    return -LogPositive(-LogPositive(u));
  }

  // Not below Value(bits), and cheap: -ln(u) >= 1 - u >= 2^-(leading ones + 1).
  LYNX_HOST_DEVICE static double UpperBound(uint64_t bits) {
    // Leading ones from an exponent: nvcc takes std::countl_one in device code and gives a
    // constant.
    const uint64_t zeros = ~bits >> 11;  // exact as a double
    const int exponent =
        static_cast<int>(std::bit_cast<uint64_t>(static_cast<double>(zeros)) >> 52);
    const int ones = 1023 + 52 - exponent;
    return (ones < 52 ? ones + 1 : 53) * kAboveLn2;
  }

  static constexpr double kMax = 36.74;  // 53 ln 2 is 36.7368

 private:
  static constexpr uint64_t kSeedSalt = 0x6c796e782d736565u;
  static constexpr uint64_t kStep = 0x9e3779b97f4a7c15u;  // 2^64 / golden ratio, odd
  static constexpr double kAboveLn2 = 0.6931472;
  uint64_t key_;
};

// ---- adjusted logits

struct LogitPenalties {
  double repetition = 1.0, presence = 0.0, frequency = 0.0;

  LYNX_HOST_DEVICE bool any() const {
    return repetition != 1.0 || presence != 0.0 || frequency != 0.0;
  }
};

// `seen`: the token is in the prompt or the output, there `output_count` times.
LYNX_EXACT double PenalizedLogit(double x, const LogitPenalties& penalties, bool seen,
                                 int64_t output_count) {
  if (penalties.repetition != 1.0 && seen) {
    x = x > 0 ? x / penalties.repetition : x * penalties.repetition;
  }
  x -= penalties.frequency * static_cast<double>(output_count);
  if (output_count > 0) x -= penalties.presence;
  return x;
}

// To float. Penalties must not make an infinity of a finite logit, which would then count as
// broken.
LYNX_EXACT float RoundAdjustedLogit(double x) {
  constexpr double kLargest = std::numeric_limits<float>::max();
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (x > kLargest && x < kInfinity) return std::numeric_limits<float>::max();
  if (x < -kLargest && x > -kInfinity) return -std::numeric_limits<float>::max();
  return static_cast<float>(x);
}

// ---- order of candidates

// NaN and +infinity: broken logits. -infinity is merely no candidate.
LYNX_EXACT bool IsInvalidLogit(float x) {
  return x != x || x == std::numeric_limits<float>::infinity();
}

LYNX_EXACT bool IsFiniteLogit(float x) {
  return !IsInvalidLogit(x) && x != -std::numeric_limits<float>::infinity();
}

// A candidate as one number: larger keys stand earlier in the order, x descending, ids ascending
// among equals.
using CandidateKey = uint64_t;

LYNX_EXACT CandidateKey MakeCandidate(float x, int32_t id) {
  // Adding +0 makes -0 equal to +0; flipping makes the bits of floats ascend with their values.
  uint32_t bits = std::bit_cast<uint32_t>(x + 0.0f);
  bits = (bits & 0x80000000u) ? ~bits : bits | 0x80000000u;
  return (static_cast<uint64_t>(bits) << 32) | (0xffffffffu - static_cast<uint32_t>(id));
}

LYNX_EXACT float CandidateLogit(CandidateKey key) {
  const uint32_t bits = static_cast<uint32_t>(key >> 32);
  return std::bit_cast<float>((bits & 0x80000000u) ? bits & 0x7fffffffu : ~bits);
}

LYNX_EXACT int32_t CandidateId(CandidateKey key) {
  return static_cast<int32_t>(0xffffffffu - static_cast<uint32_t>(key));
}

// ---- log-probabilities (model/sampling_logprobs.h defines them)

// The order in which a row's e^(x - max) are added: its logits in chunks; in a chunk logit i goes
// to lane i % kLogprobLanes, ascending; lane j gets lane j + h for h = half the lanes, a quarter of
// them, ... 1; the chunks' lanes 0, ascending.
inline constexpr int kLogprobChunk = 4096;
inline constexpr int kLogprobLanes = 256;

// A summand.
LYNX_EXACT double ExpOfLogit(float x, double max) {
  return IsFiniteLogit(x) ? ExpNonPositive(static_cast<double>(x) - max) : 0.0;
}

// log_sum: ln of the sum. NaN and infinities count as -infinity.
LYNX_EXACT double LogprobOfLogit(float x, double max, double log_sum) {
  return IsFiniteLogit(x) ? (static_cast<double>(x) - max) - log_sum
                          : -std::numeric_limits<double>::infinity();
}

// ---- filters (model/sampling_filter.h defines them)

__extension__ typedef unsigned __int128 Mass;  // sums of up to 2^23 masses, times 2^53

// Candidates so far below the best one have no mass: top_p never keeps them.
inline constexpr double kMassFloor = -37.0;  // 2^51 * e^-37 < 0.5

// Of a token with e = e^(z - max z): rint(2^51 * e).
LYNX_EXACT uint64_t MassOfExp(double e) {
  // Adding 2^52 leaves the rounded integer in the low mantissa bits.
  return std::bit_cast<uint64_t>(e * 0x1p51 + 0x1p52) & 0xfffffffffffffu;
}

// top_p's condition on the mass S of a prefix is MassReached(S, WantedMass(top_p, total)).
LYNX_EXACT Mass WantedMass(double top_p, Mass total) {
  // Rounded up, and an integer for every top_p in [0, 1]: what the conversion cuts off is added.
  const double scaled = top_p * 0x1p53;
  const uint64_t floor = static_cast<uint64_t>(scaled);
  const uint64_t ceiling = floor + (static_cast<double>(floor) < scaled ? 1 : 0);
  return ceiling * total;
}

LYNX_EXACT bool MassReached(Mass sum, Mass wanted) { return (sum << 53) >= wanted; }

}  // namespace lynx
