// Sampling as its contract words it, in the plainest way: full sort, libm, noise for every token.
// Shares no code with model/sampling*.cc but the parameter struct.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <numeric>
#include <span>
#include <vector>

#include "model/sampling_params.h"

namespace lynx::oracle {

inline uint64_t SplitMix(uint64_t x) {
  x ^= x >> 30;
  x *= 13787848793156543929u;
  x ^= x >> 27;
  x *= 10723151780598845931u;
  x ^= x >> 31;
  return x;
}

inline double Noise(uint64_t seed, int64_t position, int32_t id) {
  const uint64_t key =
      SplitMix(SplitMix(seed ^ 0x6c796e782d736565u) + static_cast<uint64_t>(position));
  const uint64_t bits = SplitMix(key + 11400714819323198485u * static_cast<uint64_t>(id));
  const double u = (static_cast<double>(bits / 4096) + 0.5) / 4503599627370496.0;
  return -std::log(-std::log(u));
}

struct Choice {
  int32_t id = -1;
  double margin = 0;
  std::vector<int32_t> kept;  // ascending
};

inline std::vector<float> Adjusted(const std::vector<float>& logits, const SamplingParams& p,
                                   std::span<const int32_t> prompt, std::span<const int32_t> output,
                                   std::span<const int32_t> banned) {
  std::map<int32_t, int> output_count;
  for (int32_t id : output) ++output_count[id];
  std::vector<float> x = logits;
  for (int32_t id = 0; id < static_cast<int32_t>(x.size()); ++id) {
    double v = logits[id];
    const int count = output_count.count(id) ? output_count[id] : 0;
    const bool in_prompt = std::find(prompt.begin(), prompt.end(), id) != prompt.end();
    if ((in_prompt || count > 0) && p.repetition_penalty != 1) {
      v = v > 0 ? v / p.repetition_penalty : v * p.repetition_penalty;
    }
    v -= p.frequency_penalty * count;
    v -= p.presence_penalty * (count > 0);
    for (const auto& [biased, addend] : p.logit_bias) {
      if (biased == id) v += addend;
    }
    if (std::find(banned.begin(), banned.end(), id) != banned.end()) v = -INFINITY;
    x[id] = static_cast<float>(v);
  }
  return x;
}

inline Choice Sample(const std::vector<float>& x, const SamplingParams& p, int64_t position) {
  std::vector<int32_t> order;
  for (int32_t id = 0; id < static_cast<int32_t>(x.size()); ++id) {
    if (std::isfinite(x[id])) order.push_back(id);
  }
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return x[a] > x[b]; });
  Choice choice;
  const bool greedy = p.temperature < 1e-5;
  const double inverse_t = greedy ? 1.0 : 1.0 / p.temperature;
  if (!greedy) {
    const double top = x[order[0]] * inverse_t;
    size_t kept = order.size();
    while (p.min_p > 0 && x[order[kept - 1]] * inverse_t - top < std::log(p.min_p)) --kept;
    if (p.top_k > 0) kept = std::min<size_t>(kept, static_cast<size_t>(p.top_k));
    order.resize(kept);
    if (p.top_p < 1) {
      double total = 0;
      for (int32_t id : order) total += std::exp(x[id] * inverse_t - top);
      double sum = 0;
      kept = 0;
      do {
        sum += std::exp(x[order[kept++]] * inverse_t - top);
      } while (kept < order.size() && sum < p.top_p * total);
      order.resize(kept);
    }
  }
  double best = -INFINITY, second = -INFINITY;
  for (int32_t id : order) {
    const double score = x[id] * inverse_t + (greedy ? 0.0 : Noise(p.seed, position, id));
    if (score > best || (score == best && id < choice.id)) {
      second = best;
      best = score;
      choice.id = id;
    } else if (score > second) {
      second = score;
    }
  }
  choice.margin = best - second;
  std::sort(order.begin(), order.end());
  choice.kept = order;
  return choice;
}

}  // namespace lynx::oracle
