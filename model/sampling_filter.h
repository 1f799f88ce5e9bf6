// Which tokens sampling may choose from: min_p, top_k and top_p over scaled logits z = x * (1 / T),
// x being the adjusted logits as floats, T the temperature, z and 1 / T doubles.
//
// Order: x descending, ids ascending among equals. Each filter keeps a prefix of that order.
//   min_p  z - max z >= ln(min_p).
//   top_k  the first k.
//   top_p  the mass of a token is rint(2^51 * e^(z - max z)), an integer. Kept is the
//          shortest prefix, of at least one token, whose mass S satisfies
//          S * 2^53 >= ceil(top_p * 2^53) * total, total being the mass of what min_p and top_k
//          left. Integer sums have no order: the result is the same however it is computed.
//
// Pure functions of their arguments; NaN and infinities never become candidates.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "kernels/sampling_inl.h"  // CandidateKey, Mass

namespace lynx {

struct LogitScan {
  CandidateKey best = 0;    // 0: there is no finite logit
  CandidateKey second = 0;  // 0: there is no other
  bool invalid = false;     // a NaN or +infinity was seen
};

// The two first candidates of x[n].
LogitScan ScanLogits(const float* x, int64_t n);

// The first k >= 1 candidates of x[n], or all finite ones if they are fewer; in no particular
// order. Returns true if a NaN or +infinity was seen.
bool CollectTopK(const float* x, int64_t n, int64_t k, std::vector<CandidateKey>* out);

// The candidates of x[n] with z - max z >= floor, in ascending order of ids. `max` is the largest
// finite x.
void CollectAbove(const float* x, int64_t n, double inverse_t, float max, double floor,
                  std::vector<CandidateKey>* out);

// Keeps min_p's candidates.
void KeepMinP(double min_p, double inverse_t, std::vector<CandidateKey>* candidates);

// The mass of all finite logits of x[n]; `max` is the largest.
Mass TotalMass(const float* x, int64_t n, double inverse_t, float max);

// Memory is kept between calls.
class TopPFilter {
 public:
  // Keeps top_p's candidates. `candidates` is not empty and a prefix of the order; `total` is the
  // mass that counts as all. False, with `candidates` unchanged, if a longer prefix is needed.
  bool Keep(double top_p, double inverse_t, Mass total, std::vector<CandidateKey>* candidates);
  // The same, with the candidates' own mass as total.
  void Keep(double top_p, double inverse_t, std::vector<CandidateKey>* candidates);

 private:
  void ComputeMasses(double inverse_t, const std::vector<CandidateKey>& keys);
  bool Select(double top_p, Mass total, std::vector<CandidateKey>* candidates);
  Mass Sum() const;

  std::vector<double> distances_;  // max z - z, [candidates]
  double longest_ = 0;             // of distances_
  std::vector<uint64_t> masses_;   // [candidates]
  std::vector<std::pair<CandidateKey, uint64_t>> edge_;
};

}  // namespace lynx
