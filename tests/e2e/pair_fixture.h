// A model, its reference decoder, and pairs of engines on virtual time to compare with it.
#pragma once

#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <random>
#include <string>

#include "cli/virtual_pair.h"
#include "model/cpu_backend.h"
#include "model/reference_decoder.h"
#include "proto/convert.h"

namespace lynx {

struct Case {
  KvTarget target = KvTarget::kInt8;
  KvSplit split{5, 4};
  uint64_t link_bytes_per_s = 1'000'000;
  int64_t chunk_tokens = 64;
  int64_t max_draft_tokens = 16;
  SimFaults faults{};
  uint64_t fault_seed = 1;
  size_t kv_budget_bytes = size_t{1} << 30;
  size_t decode_kv_budget_bytes = 0;  // 0: as kv_budget_bytes
  size_t staging_bytes = 0;           // of a device; 0: the engines' default
  // The link's, between engines whose data plane reaches device memory.
  SimDeviceCopy device_copy{};
};

struct PairTotals {
  int64_t drafted = 0, accepted = 0, rolled_back = 0;
  void Add(const v1::GenerateStats& s) {
    drafted += s.drafted();
    accepted += s.accepted();
    rolled_back += s.rolled_back();
  }
};

// Every kind of sampling and answer, one after another.
inline void VarySampling(int variant, v1::GenerateRequest* request) {
  v1::Sampling& s = *request->mutable_sampling();
  s.set_seed(1000 + variant);
  if (variant % 3 != 0) s.set_temperature(variant % 3 == 1 ? 0.8 : 1.3);
  if (variant % 5 == 1) s.set_top_p(0.9);
  if (variant % 5 == 2) s.set_top_k(20);
  if (variant % 7 == 3) s.set_repetition_penalty(1.2);
  if (variant % 7 == 4) s.set_frequency_penalty(0.7);
  if (variant % 4 == 1) request->set_logprobs(3);
  if (variant % 6 == 2) request->set_prompt_logprobs(2);
  if (variant % 5 == 4) request->set_min_tokens(12);
  if (variant % 3 == 2) request->set_ignore_eos(true);
  if (variant % 2 == 1) request->set_emission(v1::EMISSION_SPECULATIVE);
}

class PairFixture {
 public:
  using NewBackend = std::function<std::unique_ptr<Backend>(const LoadedModel& model)>;

  // On the CPU.
  explicit PairFixture(const std::string& path, int threads = 1)
      : PairFixture(
            path,
            [this](const LoadedModel& model) {
              const Kernels* kernels = SelectKernels();
              REQUIRE(kernels != nullptr);
              return std::make_unique<CpuBackend>(model.config, model.weights, *kernels, pool_);
            },
            512, threads) {}

  // `new_backend` is called for each engine, and for the reference, whose passes have rows_max
  // rows.
  PairFixture(const std::string& path, NewBackend new_backend, int64_t rows_max, int threads = 1)
      : pool_(threads), new_backend_(std::move(new_backend)), rows_max_(rows_max) {
    absl::StatusOr<LoadedModel> model = LoadModel(path);
    INFO(model.status());
    REQUIRE(model.ok());
    model_ = std::make_unique<LoadedModel>(std::move(*model));
    OpenReference();
  }

  const LoadedModel& model() const { return *model_; }

  // Makes a layer's keys and values so large that some of its pages cannot be coded.
  void Enlarge(int layer, float factor) {
    for (float& w : model_->weights.layers[layer].attention_norm) w *= factor;
    OpenReference();  // a device has a copy of the weights
  }

  std::vector<int32_t> Prompt(int64_t tokens, uint64_t seed) const {
    std::mt19937_64 rng(seed);
    std::vector<int32_t> prompt;
    for (int64_t i = 0; i < tokens; ++i) {
      prompt.push_back(static_cast<int32_t>(rng() % model_->config.vocab));
    }
    return prompt;
  }

  v1::GenerateRequest Request(const std::vector<int32_t>& prompt, int64_t max_tokens) const {
    v1::GenerateRequest request;
    request.mutable_prompt()->Add(prompt.begin(), prompt.end());
    request.set_max_tokens(max_tokens);
    request.mutable_sampling()->set_top_p(1);
    request.mutable_sampling()->set_repetition_penalty(1);
    request.set_logprobs(-1);
    request.set_prompt_logprobs(-1);
    return request;
  }

  ReferenceResult Reference(const v1::GenerateRequest& request, const Case& c,
                            bool code_free = false) {
    ReferenceRequest reference;
    reference.prompt.assign(request.prompt().begin(), request.prompt().end());
    reference.max_tokens = request.max_tokens();
    reference.min_tokens = request.min_tokens();
    reference.ending_ids.assign(request.stop_token_ids().begin(), request.stop_token_ids().end());
    if (!request.ignore_eos()) {
      const std::vector<int32_t>& eos = model_->config.eos_ids;
      reference.ending_ids.insert(reference.ending_ids.end(), eos.begin(), eos.end());
    }
    reference.sampling = *FromProto(request.sampling(), model_->config.vocab);
    reference.logprobs = request.logprobs();
    reference.prompt_logprobs = request.prompt_logprobs();
    absl::StatusOr<ReferenceResult> result =
        DecodeReference(reference, *MakeKvGeometry(model_->config, c.target, c.split), code_free,
                        *transformer_, *backend_);
    REQUIRE(result.ok());
    return *std::move(result);
  }

  std::unique_ptr<VirtualPair> Pair(const Case& c) {
    VirtualPairOptions options;
    options.prefill.target = c.target;
    options.prefill.chunk_tokens = c.chunk_tokens;
    options.prefill.kv_budget_bytes = c.kv_budget_bytes;
    options.decode.target = c.target;
    options.decode.split = c.split;
    options.decode.max_draft_tokens = c.max_draft_tokens;
    options.decode.kv_budget_bytes =
        c.decode_kv_budget_bytes > 0 ? c.decode_kv_budget_bytes : c.kv_budget_bytes;
    if (c.staging_bytes > 0) {
      options.prefill.staging_bytes = options.decode.staging_bytes = c.staging_bytes;
    }
    options.link.bytes_per_s = c.link_bytes_per_s;
    options.link.faults = c.faults;
    options.link.seed = c.fault_seed;
    options.link.device_copy = c.device_copy;
    options.send_queue.rate_burst = Nanos(0);
    return std::make_unique<VirtualPair>(options, model_->config, new_backend_(*model_),
                                         new_backend_(*model_));
  }

 private:
  void OpenReference() {
    transformer_.reset();
    backend_ = new_backend_(*model_);
    transformer_ = backend_->NewTransformer(rows_max_);
  }

  ThreadPool pool_;
  const NewBackend new_backend_;
  const int64_t rows_max_;
  std::unique_ptr<LoadedModel> model_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Transformer> transformer_;
};

// Ids, log-probabilities and the prompt's, bit for bit.
inline void RequireEqual(const Collected& got, const ReferenceResult& want) {
  INFO(got.status);
  REQUIRE(got.done);
  REQUIRE(got.status.ok());
  REQUIRE(got.ids() == want.tokens);
  auto require_logprobs = [](const v1::TokenInfo& info, const Logprobs& logprobs) {
    REQUIRE(info.logprob() == logprobs.logprob);
    REQUIRE(info.top_size() == static_cast<int>(logprobs.top.size()));
    for (int i = 0; i < info.top_size(); ++i) {
      REQUIRE(info.top(i).id() == logprobs.top[i].id);
      REQUIRE(info.top(i).logprob() == logprobs.top[i].logprob);
    }
  };
  for (size_t i = 0; i < want.logprobs.size(); ++i)
    require_logprobs(got.tokens[i], want.logprobs[i]);
  REQUIRE(got.prompt_logprobs.size() == want.prompt_logprobs.size());
  for (size_t i = 0; i < want.prompt_logprobs.size(); ++i) {
    require_logprobs(got.prompt_logprobs[i], want.prompt_logprobs[i]);
  }
}

// Runs the request alone through a new pair: its answer is the reference's, for target bf16 also
// that of a path without any code, and no memory is left in use.
inline void CheckAlone(PairFixture& fixture, const Case& c, const v1::GenerateRequest& request,
                       PairTotals* totals) {
  std::unique_ptr<VirtualPair> pair = fixture.Pair(c);
  const Collected& got = pair->Submit(request);
  absl::Status status = pair->Run();
  INFO(status);
  REQUIRE(status.ok());
  RequireEqual(got, fixture.Reference(request, c));
  if (c.target == KvTarget::kBf16) RequireEqual(got, fixture.Reference(request, c, true));
  totals->Add(got.finished.stats());
  CHECK(pair->decode_stats().kv_used_bytes == 0);
  CHECK(pair->prefill_stats().kv_used_bytes == 0);
}

// The requests side by side have the texts that each has alone.
inline void CheckTogether(PairFixture& fixture, const Case& c,
                          const std::vector<v1::GenerateRequest>& requests) {
  std::unique_ptr<VirtualPair> pair = fixture.Pair(c);
  std::vector<const Collected*> results;
  for (const v1::GenerateRequest& request : requests) results.push_back(&pair->Submit(request));
  REQUIRE(pair->Run().ok());
  for (size_t i = 0; i < requests.size(); ++i) {
    CAPTURE(i);
    RequireEqual(*results[i], fixture.Reference(requests[i], c));
  }
}

}  // namespace lynx
