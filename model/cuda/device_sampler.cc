#include "model/cuda/device_sampler.h"

#include <algorithm>
#include <utility>

namespace lynx::cuda {
namespace {

constexpr int64_t kLogitRows = Transformer::kLogitRowsMax;

size_t ScratchBytes(int64_t vocab) {
  return std::max(SampleScratchBytes(kLogitRows, vocab), LogprobScratchBytes(kLogitRows, vocab));
}

// The lists of a request that asks for all that it may.
size_t ListBytesMax(const ModelConfig& config, int64_t rows_max) {
  const int64_t eos = std::ssize(config.eos_ids);
  return SampleInputs::ListBytes<SeenToken>(config.vocab) +
         SampleInputs::ListBytes<LogitBias>(std::min(config.vocab, kLogitBiasesMax)) +
         SampleInputs::ListBytes<int32_t>(kStopIdsMax + eos) +
         SampleInputs::ListBytes<int32_t>(rows_max);
}

DeviceSamplerOptions WithLeast(DeviceSamplerOptions options, const ModelConfig& config,
                               int64_t rows_max) {
  options.list_bytes = std::max(options.list_bytes, ListBytesMax(config, rows_max));
  options.top_max = std::max(options.top_max, kTopLogprobsLimit);
  return options;
}

bool IsSeenListed(const SampleChain& chain) { return chain.params->penalizes(); }

}  // namespace

size_t DeviceSampler::BytesNeeded(const ModelConfig& config, int64_t rows_max,
                                  DeviceSamplerOptions options) {
  options = WithLeast(options, config, rows_max);
  return SampleInputs::BytesNeeded(rows_max, options.list_bytes) +
         SampleOutputs::BytesNeeded(rows_max, options.top_max) + ScratchBytes(config.vocab);
}

absl::StatusOr<std::unique_ptr<DeviceSampler>> DeviceSampler::Create(const ModelConfig& config,
                                                                     CudaTransformer& transformer,
                                                                     DeviceSamplerOptions options) {
  const int64_t rows_max = transformer.rows_max();
  options = WithLeast(options, config, rows_max);
  std::unique_ptr<DeviceSampler> sampler(new DeviceSampler(config, transformer, options));
  ASSIGN_OR_RETURN(sampler->inputs_, SampleInputs::Create(rows_max, options.list_bytes));
  ASSIGN_OR_RETURN(sampler->outputs_, SampleOutputs::Create(rows_max, options.top_max));
  ASSIGN_OR_RETURN(sampler->scratch_, DeviceBuffer<std::byte>::Create(ScratchBytes(config.vocab)));
  return sampler;
}

void DeviceSampler::Begin(int64_t rows_left) {
  inputs_.Begin(std::min(rows_left, transformer_.rows_max()));
  top_ = top_max_ = 0;
  any_logprobs_ = any_top_k_ = any_top_p_ = any_min_p_ = false;
}

// Not less than AddLists takes.
size_t DeviceSampler::ListBytesOf(const SampleChain& chain) const {
  const int64_t seen = IsSeenListed(chain) ? chain.history->size() : 0;
  return SampleInputs::ListBytes<SeenToken>(std::min(seen, config_.vocab)) +
         SampleInputs::ListBytes<LogitBias>(std::ssize(chain.params->logit_bias)) +
         SampleInputs::ListBytes<int32_t>(std::ssize(chain.banned)) +
         SampleInputs::ListBytes<int32_t>(std::ssize(chain.drafts));
}

DeviceSampler::Lists DeviceSampler::AddLists(const SampleChain& chain) {
  Lists lists;
  if (IsSeenListed(chain)) {
    const auto seen = inputs_.AddList<SeenToken>(std::min(chain.history->size(), config_.vocab));
    lists.seen = seen.device;
    chain.history->ForEach([&](int32_t id, const TokenCounts::Entry& entry) {
      if (id < 0 || id >= config_.vocab) return;
      seen.host[lists.seen_count++] = {id, entry.output_count};
    });
    const auto path = inputs_.AddList<int32_t>(std::ssize(chain.drafts));
    std::copy(chain.drafts.begin(), chain.drafts.end(), path.host.begin());
    lists.path = path.device;
  }
  const auto& bias = chain.params->logit_bias;
  const auto biases = inputs_.AddList<LogitBias>(std::ssize(bias));
  for (size_t i = 0; i < bias.size(); ++i) biases.host[i] = {bias[i].second, bias[i].first};
  lists.biases = biases.device;
  if (chain.banned_rows > 0) {
    const auto banned = inputs_.AddList<int32_t>(std::ssize(chain.banned));
    std::copy(chain.banned.begin(), chain.banned.end(), banned.host.begin());
    lists.banned = banned.device;
  }
  return lists;
}

void DeviceSampler::AddRow(int64_t row, const SampleRow& request, LogprobRow logprobs) {
  LYNX_CHECK(row >= 0 && row < transformer_.pass_rows());
  if (logprobs.top >= 0) {
    any_logprobs_ = true;
    logprobs.top_begin = static_cast<int32_t>(top_);
    top_ += logprobs.top;
    top_max_ = std::max(top_max_, logprobs.top);
  }
  inputs_.AddRow(static_cast<int32_t>(row), request, logprobs);
}

void DeviceSampler::AddSampledRow(const SampleChain& chain, int64_t i, const Lists& lists) {
  const SamplingParams& p = *chain.params;
  const bool banned = i < chain.banned_rows;
  AddRow(chain.first_row + i,
         {.temperature = p.temperature,
          .top_p = p.top_p,
          .min_p = p.min_p,
          .repetition_penalty = p.repetition_penalty,
          .presence_penalty = p.presence_penalty,
          .frequency_penalty = p.frequency_penalty,
          .seed = p.seed,
          .position = chain.position + i,
          .seen = lists.seen,
          .path = lists.path,
          .biases = lists.biases,
          .banned = banned ? lists.banned : nullptr,
          .seen_count = lists.seen_count,
          .path_count = lists.path != nullptr ? static_cast<int32_t>(i) : 0,
          .bias_count = static_cast<int32_t>(p.logit_bias.size()),
          .banned_count = banned ? static_cast<int32_t>(chain.banned.size()) : 0,
          .top_k = p.top_k},
         {.top = chain.logprobs});
  any_top_k_ |= !p.greedy() && p.top_k > 0 && p.top_k < config_.vocab;
  any_top_p_ |= !p.greedy() && p.top_p < 1;
  any_min_p_ |= !p.greedy() && p.min_p > 0;
}

void DeviceSampler::QueueSlice(int64_t begin, int64_t rows, bool sample) {
  const cudaStream_t stream = transformer_.stream();
  const SampleOutputs::Arrays out = outputs_.device();
  const float* logits = transformer_.QueueLogits(inputs_.DeviceRows(begin), rows);
  if (sample) {
    Must(cuda::Sample({.logits = logits,
                       .requests = inputs_.DeviceRequests(begin),
                       .ids = out.ids + begin,
                       .margins = out.margins + begin,
                       .invalid = out.invalid + begin,
                       .scratch = scratch_.data(),
                       .rows = rows,
                       .vocab = config_.vocab,
                       .any_top_k = any_top_k_,
                       .any_top_p = any_top_p_,
                       .any_min_p = any_min_p_},
                      stream),
         "cannot sample");
  }
  if (!any_logprobs_) return;
  Must(RowLogprobs({.logits = logits,
                    .requests = inputs_.DeviceLogprobs(begin),
                    .ids = out.ids + begin,
                    .logprobs = out.logprobs + begin,
                    .top_counts = out.top_counts + begin,
                    .top = out.top,
                    .scratch = scratch_.data(),
                    .rows = rows,
                    .vocab = config_.vocab,
                    .top_max = top_max_},
                   stream),
       "cannot compute log-probabilities");
}

void DeviceSampler::Run(bool sample) {
  const int64_t rows = inputs_.rows();
  inputs_.QueueCopy(transformer_.stream());
  outputs_.Begin(rows, top_);
  for (int64_t begin = 0; begin < rows; begin += kLogitRows) {
    QueueSlice(begin, std::min(kLogitRows, rows - begin), sample);
  }
  outputs_.QueueCopy(transformer_.stream());
  Must(cudaStreamSynchronize(transformer_.stream()), "the device failed");
  ++batches_;
}

Logprobs DeviceSampler::LogprobsOfRow(int64_t i) const {
  const SampleOutputs::Arrays out = outputs_.host();
  Logprobs logprobs{out.logprobs[i], {}};
  const TopLogprobEntry* top = out.top + inputs_.logprobs(i).top_begin;
  for (int32_t k = 0; k < out.top_counts[i]; ++k) {
    logprobs.top.push_back({top[k].id, top[k].logprob});
  }
  return logprobs;
}

void DeviceSampler::TakeSampled(std::vector<SampledToken>* tokens) const {
  const SampleOutputs::Arrays out = outputs_.host();
  for (int64_t i = 0; i < inputs_.rows(); ++i) {
    SampledToken token{{out.ids[i], out.margins[i], out.invalid[i] != 0}, std::nullopt};
    if (inputs_.logprobs(i).top >= 0) token.logprobs = LogprobsOfRow(i);
    tokens->push_back(std::move(token));
  }
}

std::vector<std::vector<SampledToken>> DeviceSampler::Sample(std::span<const SampleChain> chains) {
  int64_t left = 0;
  for (const SampleChain& chain : chains) left += chain.rows();
  std::vector<SampledToken> tokens;  // of all rows
  Begin(left);
  for (const SampleChain& chain : chains) {
    std::optional<Lists> lists;
    for (int64_t i = 0; i < chain.rows(); ++i, --left) {
      const bool full = !inputs_.HasRoomForRow() ||
                        top_ + std::max(chain.logprobs, 0) > options_.top_max ||
                        (!lists && !inputs_.HasRoomForLists(ListBytesOf(chain)));
      if (full) {
        Run(/*sample=*/true);
        TakeSampled(&tokens);
        Begin(left);
        lists.reset();
      }
      if (!lists) lists = AddLists(chain);
      AddSampledRow(chain, i, *lists);
    }
  }
  Run(/*sample=*/true);
  TakeSampled(&tokens);

  std::vector<std::vector<SampledToken>> out(chains.size());
  size_t begin = 0;
  for (size_t c = 0; c < chains.size(); begin += static_cast<size_t>(chains[c].rows()), ++c) {
    const SampleChain& chain = chains[c];
    for (int64_t i = 0; i < chain.rows(); ++i) {
      out[c].push_back(std::move(tokens[begin + static_cast<size_t>(i)]));
      const int32_t id = out[c].back().sample.id;
      chain.history->Push(id);
      if (i + 1 < chain.rows() && id != chain.drafts[i]) break;
    }
  }
  return out;
}

std::vector<Logprobs> DeviceSampler::LogprobsOf(std::span<const int64_t> rows,
                                                std::span<const int32_t> ids, int64_t top) {
  std::vector<Logprobs> out;
  size_t next = 0;
  while (next < rows.size()) {
    Begin(static_cast<int64_t>(rows.size() - next));
    for (; next < rows.size() && inputs_.HasRoomForRow() && top_ + top <= options_.top_max;
         ++next) {
      AddRow(rows[next], {}, {.id = ids[next], .top = static_cast<int32_t>(top)});
    }
    Run(/*sample=*/false);
    for (int64_t i = 0; i < inputs_.rows(); ++i) out.push_back(LogprobsOfRow(i));
  }
  return out;
}

}  // namespace lynx::cuda
