// Sampling behind the logits of a pass on the device: the host's RowSampler, fed with the same
// logits, is the oracle, and every bit is compared.
#include "model/cuda/device_sampler.h"

#include <catch2/catch.hpp>
#include <limits>
#include <random>

#include "model/cuda/cuda_backend.h"
#include "model/kv_format.h"
#include "model/loader.h"

namespace lynx::cuda {
namespace {

constexpr int64_t kRows = 150;  // more than the logits of one slice

bool SameBits(double a, double b) {
  return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b);
}

bool Same(const Logprobs& a, const Logprobs& b) {
  if (!SameBits(a.logprob, b.logprob) || a.top.size() != b.top.size()) return false;
  for (size_t i = 0; i < a.top.size(); ++i) {
    if (a.top[i].id != b.top[i].id || !SameBits(a.top[i].logprob, b.top[i].logprob)) return false;
  }
  return true;
}

bool Same(const SampledToken& a, const SampledToken& b) {
  return a.sample.id == b.sample.id && SameBits(a.sample.margin, b.sample.margin) &&
         a.sample.invalid_logits == b.sample.invalid_logits &&
         a.logprobs.has_value() == b.logprobs.has_value() &&
         (!a.logprobs || Same(*a.logprobs, *b.logprobs));
}

// A model's pass over kRows rows of any text.
class Pass {
 public:
  Pass() {
    absl::StatusOr<LoadedModel> model = LoadModel(LYNX_TEST_DATA "/models/tiny-llama-d64.gguf");
    REQUIRE(model.ok());
    model_ = *std::move(model);
    auto backend = CudaBackend::Create(model_.config, model_.weights,
                                       {.kv_bytes = size_t{8} << 20,
                                        .wire_bytes = size_t{1} << 20,
                                        .rows_max = kRows,
                                        .linear = {.prefill_rows = kRows, .check = false}});
    INFO(backend.status());
    REQUIRE(backend.ok());
    backend_ = *std::move(backend);
    transformer_ = backend_->NewTransformer(kRows);
    pool_.emplace(std::numeric_limits<size_t>::max() / 2, backend_->page_memory());
    kv_ = KvSequence::Create(*MakeKvGeometry(model_.config, KvTarget::kBf16Whole, {}), 0, kRows,
                             {&*pool_});
    REQUIRE(kv_ != nullptr);
    std::vector<int32_t> tokens = Ids(kRows);
    const PassRows rows{.tokens = tokens, .kv = kv_.get()};
    transformer_->Forward(PassKind::kDecode, std::span(&rows, 1));
    host_ = NewHostRowSampler(*transformer_);
  }

  CudaTransformer& transformer() { return static_cast<CudaTransformer&>(*transformer_); }
  const ModelConfig& config() const { return model_.config; }
  RowSampler& host() { return *host_; }
  std::unique_ptr<DeviceSampler> NewSampler(DeviceSamplerOptions options = {}) {
    auto sampler = DeviceSampler::Create(config(), transformer(), options);
    REQUIRE(sampler.ok());
    return *std::move(sampler);
  }
  std::vector<int32_t> Ids(int64_t count) {
    std::vector<int32_t> ids(static_cast<size_t>(count));
    for (int32_t& id : ids) {
      id = static_cast<int32_t>(rng_() % static_cast<uint64_t>(config().vocab));
    }
    return ids;
  }
  std::mt19937& rng() { return rng_; }

 private:
  std::mt19937 rng_{41};
  LoadedModel model_;
  std::unique_ptr<CudaBackend> backend_;
  std::unique_ptr<Transformer> transformer_;
  std::optional<KvPool> pool_;
  std::unique_ptr<KvSequence> kv_;
  std::unique_ptr<RowSampler> host_;
};

// A sequence's rows, and what it asks for.
struct ChainCase {
  SamplingParams params;
  std::vector<int32_t> prompt, output, drafts, banned;
  int64_t first_row = 0;
  int64_t banned_rows = 0;
  int32_t logprobs = -1;

  TokenCounts History() const {
    TokenCounts history(prompt);
    for (int32_t id : output) history.Push(id);
    return history;
  }
  SampleChain Chain(TokenCounts* history) const {
    return {.first_row = first_row,
            .drafts = drafts,
            .params = &params,
            .history = history,
            .position = std::ssize(prompt) + std::ssize(output),
            .banned = banned,
            .banned_rows = banned_rows,
            .logprobs = logprobs};
  }
};

std::vector<std::vector<SampledToken>> Sample(RowSampler& sampler,
                                              const std::vector<ChainCase>& cases) {
  std::vector<TokenCounts> histories;
  std::vector<SampleChain> chains;
  for (const ChainCase& c : cases) histories.push_back(c.History());
  for (size_t i = 0; i < cases.size(); ++i) chains.push_back(cases[i].Chain(&histories[i]));
  std::vector<std::vector<SampledToken>> out = sampler.Sample(chains);
  // The tokens have become history.
  for (size_t i = 0; i < cases.size(); ++i) {
    TokenCounts wanted = cases[i].History();
    for (const SampledToken& token : out[i]) wanted.Push(token.sample.id);
    REQUIRE(histories[i].output_size() == wanted.output_size());
    wanted.ForEach([&](int32_t id, const TokenCounts::Entry& entry) {
      REQUIRE(histories[i].Find(id).output_count == entry.output_count);
    });
  }
  return out;
}

// A chain of `rows` rows whose drafts are what is sampled, but for the one before row `wrong`.
ChainCase NewChain(Pass& pass, int variant, int64_t first_row, int64_t rows, int64_t wrong) {
  ChainCase c;
  c.first_row = first_row;
  c.params.seed = static_cast<uint64_t>(variant);
  c.params.temperature = variant % 4 == 0 ? 0.0 : 0.7 + 0.4 * (variant % 3);
  if (variant % 3 == 1) c.params.top_p = 0.9;
  if (variant % 3 == 2) c.params.top_k = 15;
  if (variant % 5 == 4) c.params.min_p = 0.02;
  if (variant % 2 == 1) {
    c.params.repetition_penalty = 1.2;
    c.params.frequency_penalty = 0.6;
    c.params.presence_penalty = 0.3;
    c.params.logit_bias = {{3, 1.5}, {7, -100.0}, {200, 0.7}};
  }
  c.prompt = pass.Ids(20 + variant * 40);
  c.output = pass.Ids(variant * 3);
  c.logprobs = variant % 3 == 0 ? variant % 7 : -1;
  c.banned = pass.Ids(variant % 2 == 0 ? 1000 : 2);
  c.banned_rows = variant % 4;
  while (std::ssize(c.drafts) + 1 < rows) {
    const int32_t next = Sample(pass.host(), {c})[0].back().sample.id;
    c.drafts.push_back(next);
  }
  if (wrong > 0) c.drafts[static_cast<size_t>(wrong - 1)] ^= 1;
  return c;
}

std::vector<ChainCase> Chains(Pass& pass) {
  std::vector<ChainCase> cases;
  int64_t row = 0;
  int variant = 0;
  for (const int64_t rows : {1, 12, 1, 9, 40, 1, 17, 1, 60}) {
    cases.push_back(NewChain(pass, variant, row, rows, variant % 4 == 3 ? rows / 2 : 0));
    row += rows;
    ++variant;
  }
  REQUIRE(row <= kRows);
  return cases;
}

void RequireSame(const std::vector<std::vector<SampledToken>>& got,
                 const std::vector<std::vector<SampledToken>>& want) {
  REQUIRE(got.size() == want.size());
  for (size_t c = 0; c < want.size(); ++c) {
    CAPTURE(c);
    REQUIRE(got[c].size() == want[c].size());
    for (size_t i = 0; i < want[c].size(); ++i) {
      CAPTURE(i);
      REQUIRE(Same(got[c][i], want[c][i]));
    }
  }
}

}  // namespace

TEST_CASE("a step's rows are sampled on the device as the host samples them, in one batch") {
  Pass pass;
  const std::vector<ChainCase> cases = Chains(pass);
  const auto want = Sample(pass.host(), cases);
  CHECK(want[1].size() == 12);  // the drafts hold
  CHECK(want[3].size() == 4);   // up to the wrong one
  CHECK(want[3].back().sample.id != cases[3].drafts[3]);
  const auto sampler = pass.NewSampler();
  RequireSame(Sample(*sampler, cases), want);
  CHECK(sampler->batches() == 1);
  // Each chain alone.
  for (size_t c = 0; c < cases.size(); ++c) {
    CAPTURE(c);
    RequireSame(Sample(*sampler, {cases[c]}), {want[c]});
  }
}

TEST_CASE("lists beyond the memory that was taken make more batches and the same tokens") {
  Pass pass;
  std::vector<ChainCase> cases = Chains(pass);
  for (ChainCase& c : cases) {
    if (c.params.penalizes()) c.prompt = pass.Ids(2000);
  }
  const auto want = Sample(pass.host(), cases);
  const auto sampler = pass.NewSampler({.list_bytes = 0, .top_max = 0});
  RequireSame(Sample(*sampler, cases), want);
  CHECK(sampler->batches() > 1);

  cases.resize(4);
  cases[1].logprobs = 250;  // of 12 rows: four a batch
  const int64_t before = sampler->batches();
  RequireSame(Sample(*sampler, cases), Sample(pass.host(), cases));
  CHECK(sampler->batches() >= before + 3);
}

TEST_CASE("a request that asks for all that it may fits") {
  Pass pass;
  ChainCase c = NewChain(pass, 1, 0, 1, 0);
  c.params.logit_bias.clear();
  for (int32_t id = 0; id < pass.config().vocab; ++id) c.params.logit_bias.emplace_back(id, 0.01);
  for (int32_t id = 0; id < pass.config().vocab; ++id) c.prompt.push_back(id);
  c.banned = pass.Ids(kStopIdsMax);
  c.banned.insert(c.banned.end(), pass.config().eos_ids.begin(), pass.config().eos_ids.end());
  c.banned_rows = 1;
  c.logprobs = kTopLogprobsLimit;
  const auto sampler = pass.NewSampler({.list_bytes = 0, .top_max = 0});
  RequireSame(Sample(*sampler, {c}), Sample(pass.host(), {c}));
  CHECK(sampler->batches() == 1);
}

TEST_CASE("log-probabilities of given tokens are the host's") {
  Pass pass;
  std::vector<int64_t> rows;
  for (int64_t row = 0; row < kRows; row += 1 + row % 3) rows.push_back(row);
  const std::vector<int32_t> ids = pass.Ids(std::ssize(rows));
  const auto sampler = pass.NewSampler({.list_bytes = 0, .top_max = 0});
  for (const int64_t top : {0, 5, 290, 1000}) {
    const std::vector<Logprobs> want = pass.host().LogprobsOf(rows, ids, top);
    const std::vector<Logprobs> got = sampler->LogprobsOf(rows, ids, top);
    REQUIRE(got.size() == want.size());
    for (size_t i = 0; i < want.size(); ++i) {
      CAPTURE(top, i);
      REQUIRE(Same(got[i], want[i]));
    }
  }
}

}  // namespace lynx::cuda
