#include "model/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "model/sampling_math.h"
#include "runtime/status.h"

namespace lynx {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Candidates at least e^-10 times as likely as the best one nearly always hold all that top_p
// wants.
constexpr double kNearFloor = -10.0;

double Penalized(double x, const LogitPenalties& penalties, const TokenCounts::Entry& seen) {
  return PenalizedLogit(x, penalties, seen.in_prompt || seen.output_count > 0, seen.output_count);
}

// The two largest scores seen, computing only noise that may matter.
class GumbelMax {
 public:
  GumbelMax(const SamplingParams& params, int64_t position)
      : inverse_t_(1.0 / params.temperature), noise_(params.seed, position) {}

  void Offer(float x, int32_t id) {
    const double z = x * inverse_t_;
    const uint64_t bits = noise_.Bits(id);
    // Rounding is monotonic: a bound of the noise bounds the rounded score too.
    if (z + GumbelNoise::UpperBound(bits) < second_) return;
    const double score = z + GumbelNoise::Value(bits);
    if (score > best_ || (score == best_ && id < best_id_)) {
      SetSecond(best_);
      best_ = score;
      best_id_ = id;
    } else if (score > second_) {
      SetSecond(score);
    }
  }

  // Logits not above it cannot reach the second best score, whatever their noise.
  const float& hopeless_logit() const { return hopeless_logit_; }

  SampleResult result() const { return {best_id_, best_ - second_, false}; }

 private:
  void SetSecond(double score) {
    second_ = score;
    const double bound = (score - GumbelNoise::kMax) / inverse_t_;
    const double lower = bound - std::abs(bound) * 1e-6;  // rounding, here and to float
    // Not a float: no bound.
    hopeless_logit_ = lower > -std::numeric_limits<float>::max()
                          ? static_cast<float>(lower)
                          : -std::numeric_limits<float>::infinity();
  }

  const double inverse_t_;
  const GumbelNoise noise_;
  double best_ = -kInfinity;
  double second_ = -kInfinity;
  int32_t best_id_ = 0;
  float hopeless_logit_ = -std::numeric_limits<float>::infinity();
};

SampleResult NothingLeft(int64_t vocab, std::span<const int32_t> banned) {
  for (int32_t id = 0; id < vocab; ++id) {
    if (std::find(banned.begin(), banned.end(), id) == banned.end()) return {id, 0.0, true};
  }
  return {0, 0.0, true};
}

SampleResult Greedy(const LogitScan& scan) {
  const double best = CandidateLogit(scan.best);
  const double second = scan.second == 0 ? -kInfinity : CandidateLogit(scan.second);
  return {CandidateId(scan.best), best - second, scan.invalid};
}

// All finite logits are candidates.
SampleResult SampleUnfiltered(const float* x, int64_t vocab, GumbelMax gumbel, bool* any) {
  bool invalid = false;
  *any = false;
  ForEachAbove(x, vocab, gumbel.hopeless_logit(), [&](int64_t i) {
    if (std::isfinite(x[i])) {
      *any = true;
      gumbel.Offer(x[i], static_cast<int32_t>(i));
    } else {
      invalid = true;  // ForEachAbove leaves -infinity out
    }
  });
  SampleResult result = gumbel.result();
  result.invalid_logits = invalid;
  return result;
}

}  // namespace

const float* Sampler::Adjust(const float* logits, int64_t vocab, const SamplingParams& params,
                             const TokenCounts& history, std::span<const int32_t> banned) {
  if (!params.penalizes() && params.logit_bias.empty() && banned.empty()) return logits;
  const LogitPenalties penalties = params.penalties();
  adjusted_.assign(logits, logits + vocab);
  auto in_vocab = [vocab](int32_t id) { return id >= 0 && id < vocab; };
  if (params.penalizes()) {
    history.ForEach([&](int32_t id, const TokenCounts::Entry& seen) {
      if (!in_vocab(id)) return;
      adjusted_[id] = RoundAdjustedLogit(Penalized(logits[id], penalties, seen));
    });
  }
  for (const auto& [id, addend] : params.logit_bias) {
    if (!in_vocab(id)) continue;
    const double penalized = Penalized(logits[id], penalties, history.Find(id));
    adjusted_[id] = RoundAdjustedLogit(penalized + addend);
  }
  for (int32_t id : banned) {
    if (in_vocab(id)) adjusted_[id] = -std::numeric_limits<float>::infinity();
  }
  return adjusted_.data();
}

bool Sampler::Filter(const float* x, int64_t vocab, const SamplingParams& params) {
  const double inverse_t = 1.0 / params.temperature;
  bool invalid = false;
  if (params.top_k > 0 && params.top_k < vocab) {
    invalid = CollectTopK(x, vocab, params.top_k, &candidates_);
    KeepMinP(params.min_p, inverse_t, &candidates_);
  } else {
    const LogitScan scan = ScanLogits(x, vocab);
    invalid = scan.invalid;
    candidates_.clear();
    if (scan.best == 0) return invalid;
    const float max = CandidateLogit(scan.best);
    if (params.min_p == 0.0) {
      FilterTopP(x, vocab, params, max);
      return invalid;
    }
    CollectAbove(x, vocab, inverse_t, max, LogPositive(params.min_p), &candidates_);
  }
  if (!candidates_.empty() && params.top_p < 1.0) {
    top_p_.Keep(params.top_p, inverse_t, &candidates_);
  }
  return invalid;
}

void Sampler::FilterTopP(const float* x, int64_t vocab, const SamplingParams& params, float max) {
  const double inverse_t = 1.0 / params.temperature;
  const Mass total = TotalMass(x, vocab, inverse_t, max);
  // Most of a vocabulary is far below the best token and not needed but for its mass.
  for (double floor : {kNearFloor, kMassFloor}) {
    CollectAbove(x, vocab, inverse_t, max, floor, &candidates_);
    if (top_p_.Keep(params.top_p, inverse_t, total, &candidates_)) return;
  }
  LYNX_CHECK(false);  // what is below kMassFloor has no mass
}

SampleResult Sampler::Sample(const float* logits, int64_t vocab, const SamplingParams& params,
                             const TokenCounts& history, int64_t position,
                             std::span<const int32_t> banned) {
  LYNX_CHECK(vocab > 0 && vocab <= kMaxSamplingVocab);
  const float* x = Adjust(logits, vocab, params, history, banned);
  if (params.greedy()) {
    const LogitScan scan = ScanLogits(x, vocab);
    return scan.best == 0 ? NothingLeft(vocab, banned) : Greedy(scan);
  }
  GumbelMax gumbel(params, position);
  const bool filtered =
      params.top_p < 1.0 || params.min_p > 0.0 || (params.top_k > 0 && params.top_k < vocab);
  if (!filtered) {
    bool any;
    const SampleResult result = SampleUnfiltered(x, vocab, gumbel, &any);
    return any ? result : NothingLeft(vocab, banned);
  }
  const bool invalid = Filter(x, vocab, params);
  if (candidates_.empty()) return NothingLeft(vocab, banned);
  for (CandidateKey key : candidates_) gumbel.Offer(CandidateLogit(key), CandidateId(key));
  SampleResult result = gumbel.result();
  result.invalid_logits = invalid;
  return result;
}

}  // namespace lynx
