// Rows to sample from, on the device and by the CPU's Sampler.
#pragma once

#include <optional>

#include "kernels/cuda/sample.h"
#include "model/sampling.h"
#include "tests/cuda/device_array.h"

namespace lynx::testing {

struct SampleCase {
  std::vector<float> logits;
  SamplingParams params = {};
  std::vector<int32_t> prompt = {}, output = {}, banned = {};
  std::vector<int32_t> path = {};  // behind the output
  int64_t position = 0;

  TokenCounts BeforePath() const {
    TokenCounts history(prompt);
    for (int32_t id : output) history.Push(id);
    return history;
  }
  TokenCounts History() const {
    TokenCounts history = BeforePath();
    for (int32_t id : path) history.Push(id);
    return history;
  }
  SampleResult Expected() const {
    Sampler sampler;
    return sampler.Sample(logits.data(), std::ssize(logits), params, History(), position, banned);
  }
};

// The rows' lists, one behind the other, and the requests that point into them.
class SampleRows {
 public:
  explicit SampleRows(std::span<const SampleCase> cases) {
    std::vector<float> logits;
    std::vector<cuda::SeenToken> seen;
    std::vector<cuda::LogitBias> biases;
    std::vector<int32_t> banned, paths;
    for (const SampleCase& c : cases) {
      logits.insert(logits.end(), c.logits.begin(), c.logits.end());
      c.BeforePath().ForEach([&](int32_t id, const TokenCounts::Entry& entry) {
        seen.push_back({id, entry.output_count});
      });
      paths.insert(paths.end(), c.path.begin(), c.path.end());
      for (const auto& [id, addend] : c.params.logit_bias) biases.push_back({addend, id});
      banned.insert(banned.end(), c.banned.begin(), c.banned.end());
    }
    rows_ = std::ssize(cases);
    vocab_ = std::ssize(cases[0].logits);
    logits_.emplace(std::span<const float>(logits));
    seen_.emplace(std::span<const cuda::SeenToken>(seen));
    biases_.emplace(std::span<const cuda::LogitBias>(biases));
    banned_.emplace(std::span<const int32_t>(banned));
    paths_.emplace(std::span<const int32_t>(paths));
    AddRequests(cases);
  }

  // One launch over all rows, with poisoned results and scratch.
  std::vector<SampleResult> Sample(bool leave_out = false) const {
    const int64_t rows = rows_;
    DeviceArray<int32_t> ids(rows);
    DeviceArray<double> margins(rows);
    DeviceArray<uint8_t> invalid(rows);
    DeviceArray<std::byte> scratch(static_cast<int64_t>(cuda::SampleScratchBytes(rows, vocab_)),
                                   kScratchShift);
    REQUIRE(cuda::Sample({.logits = logits_->data(),
                          .requests = requests_->data(),
                          .ids = ids.data(),
                          .margins = margins.data(),
                          .invalid = invalid.data(),
                          .scratch = scratch.data(),
                          .rows = rows,
                          .vocab = vocab_,
                          .any_top_k = !leave_out || any_top_k_,
                          .any_top_p = !leave_out || any_top_p_,
                          .any_min_p = !leave_out || any_min_p_},
                         nullptr) == cudaSuccess);
    scratch.Read();  // its margins are whole
    std::vector<SampleResult> results;
    const auto host_ids = ids.Read();
    const auto host_margins = margins.Read();
    const auto host_invalid = invalid.Read();
    for (int64_t row = 0; row < rows; ++row) {
      CHECK(host_invalid[row] <= 1);
      results.push_back({host_ids[row], host_margins[row], host_invalid[row] == 1});
    }
    return results;
  }

 private:
  static constexpr int64_t kScratchShift = 128;  // with the array's margin: a multiple of 256

  void AddRequests(std::span<const SampleCase> cases) {
    std::vector<cuda::SampleRow> requests;
    const cuda::SeenToken* seen = seen_->data();
    const cuda::LogitBias* biases = biases_->data();
    const int32_t* banned = banned_->data();
    const int32_t* path = paths_->data();
    for (const SampleCase& c : cases) {
      const SamplingParams& p = c.params;
      requests.push_back({.temperature = p.temperature,
                          .top_p = p.top_p,
                          .min_p = p.min_p,
                          .repetition_penalty = p.repetition_penalty,
                          .presence_penalty = p.presence_penalty,
                          .frequency_penalty = p.frequency_penalty,
                          .seed = p.seed,
                          .position = c.position,
                          .seen = seen,
                          .path = path,
                          .biases = biases,
                          .banned = banned,
                          .seen_count = static_cast<int32_t>(c.BeforePath().size()),
                          .path_count = static_cast<int32_t>(c.path.size()),
                          .bias_count = static_cast<int32_t>(p.logit_bias.size()),
                          .banned_count = static_cast<int32_t>(c.banned.size()),
                          .top_k = p.top_k});
      seen += requests.back().seen_count;
      biases += requests.back().bias_count;
      banned += requests.back().banned_count;
      path += requests.back().path_count;
      any_top_k_ |= !p.greedy() && p.top_k > 0 && p.top_k < vocab_;
      any_top_p_ |= !p.greedy() && p.top_p < 1;
      any_min_p_ |= !p.greedy() && p.min_p > 0;
    }
    requests_.emplace(std::span<const cuda::SampleRow>(requests));
  }

  int64_t rows_ = 0, vocab_ = 0;
  bool any_top_k_ = false, any_top_p_ = false, any_min_p_ = false;
  std::optional<DeviceArray<float>> logits_;
  std::optional<DeviceArray<cuda::SeenToken>> seen_;
  std::optional<DeviceArray<cuda::LogitBias>> biases_;
  std::optional<DeviceArray<int32_t>> banned_, paths_;
  std::optional<DeviceArray<cuda::SampleRow>> requests_;
};

}  // namespace lynx::testing
