#include "model/row_sampling.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

#include "absl/functional/function_ref.h"
#include "runtime/status.h"

namespace lynx {
namespace {

class HostRowSampler final : public RowSampler {
 public:
  explicit HostRowSampler(Transformer& transformer) : transformer_(transformer) {}

  std::vector<std::vector<SampledToken>> Sample(std::span<const SampleChain> chains) override {
    std::vector<int64_t> rows;
    std::vector<std::pair<size_t, int64_t>> owners;  // of each row: chain, row of the chain
    for (size_t c = 0; c < chains.size(); ++c) {
      for (int64_t i = 0; i < chains[c].rows(); ++i) {
        rows.push_back(chains[c].first_row + i);
        owners.emplace_back(c, i);
      }
    }
    std::vector<std::vector<SampledToken>> out(chains.size());
    ForEachLogits(rows, [&](size_t i, const float* logits) {
      const auto [c, row] = owners[i];
      SampleRow(chains[c], row, logits, &out[c]);
    });
    return out;
  }

  std::vector<Logprobs> LogprobsOf(std::span<const int64_t> rows, std::span<const int32_t> ids,
                                   int64_t top) override {
    std::vector<Logprobs> out;
    ForEachLogits(rows, [&](size_t i, const float* logits) {
      out.push_back(ComputeLogprobs(logits, transformer_.vocab(), ids[i], top));
    });
    return out;
  }

 private:
  // f(i, logits of rows[i]), in order.
  void ForEachLogits(std::span<const int64_t> rows,
                     absl::FunctionRef<void(size_t, const float*)> f) {
    for (size_t begin = 0; begin < rows.size(); begin += Transformer::kLogitRowsMax) {
      const size_t count = std::min<size_t>(Transformer::kLogitRowsMax, rows.size() - begin);
      const float* logits = transformer_.Logits(rows.subspan(begin, count));
      for (size_t i = 0; i < count; ++i) {
        f(begin + i, logits + static_cast<int64_t>(i) * transformer_.vocab());
      }
    }
  }

  // Passes over rows behind the first that disagrees with its draft.
  void SampleRow(const SampleChain& chain, int64_t row, const float* logits,
                 std::vector<SampledToken>* out) {
    if (row > 0 && (std::ssize(*out) < row || out->back().sample.id != chain.drafts[row - 1])) {
      return;
    }
    const std::span<const int32_t> banned =
        row < chain.banned_rows ? chain.banned : std::span<const int32_t>();
    const int64_t vocab = transformer_.vocab();
    SampledToken token{
        sampler_.Sample(logits, vocab, *chain.params, *chain.history, chain.position + row, banned),
        std::nullopt};
    if (chain.logprobs >= 0) {
      token.logprobs = ComputeLogprobs(logits, vocab, token.sample.id, chain.logprobs);
    }
    chain.history->Push(token.sample.id);
    out->push_back(std::move(token));
  }

  Transformer& transformer_;
  Sampler sampler_;
};

absl::Status CheckCount(const char* field, int64_t count, int64_t max) {
  if (count <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, ": ", count, " were asked for, the limit is ", max));
}

}  // namespace

std::unique_ptr<RowSampler> NewHostRowSampler(Transformer& transformer) {
  return std::make_unique<HostRowSampler>(transformer);
}

absl::Status CheckSamplingLimits(int64_t stop_ids, int64_t logit_biases, int64_t logprobs,
                                 int64_t prompt_logprobs) {
  RETURN_IF_ERROR(CheckCount("stop_token_ids", stop_ids, kStopIdsMax));
  RETURN_IF_ERROR(CheckCount("logit_bias", logit_biases, kLogitBiasesMax));
  RETURN_IF_ERROR(CheckCount("logprobs", logprobs, kTopLogprobsLimit));
  return CheckCount("prompt_logprobs", prompt_logprobs, kTopLogprobsLimit);
}

}  // namespace lynx
