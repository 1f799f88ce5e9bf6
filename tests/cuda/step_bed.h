// A model on a device, sequences with prompts, and passes over them.
#pragma once

#include <catch2/catch.hpp>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "model/cuda/cuda_backend.h"
#include "model/cuda/cuda_transformer.h"
#include "model/kv_format.h"
#include "model/loader.h"
#include "model/target_pages.h"

namespace lynx::testing {

class StepBed {
 public:
  static constexpr size_t kKvBytes = size_t{8} << 20;
  static constexpr int64_t kRowsMax = 64;

  explicit StepBed(const LoadedModel& model, int64_t graphs_max = 0)
      : StepBed(
            model.config, [&](WeightsOut& out) { return PutWeights(model.weights, out); },
            graphs_max) {}
  StepBed(const ModelConfig& config, FeedWeights feed, int64_t graphs_max = 0) : config_(config) {
    auto backend = cuda::CudaBackend::Create(
        config, feed,
        {.kv_bytes = kKvBytes,
         .wire_bytes = size_t{1} << 20,
         .rows_max = kRowsMax,
         .graphs_max = graphs_max,
         .linear = {.prefill_rows = kRowsMax, .workspace_bytes = size_t{1} << 20, .check = false}});
    INFO(backend.status());
    REQUIRE(backend.ok());
    backend_ = *std::move(backend);
    pool_ = std::make_unique<KvPool>(kKvBytes, backend_->page_memory());
    transformer_ = backend_->NewTransformer(kRowsMax);
  }

  const ModelConfig& config() const { return config_; }
  Backend& backend() { return *backend_; }
  KvPool& pool() { return *pool_; }
  cuda::CudaTransformer& transformer() {
    return static_cast<cuda::CudaTransformer&>(*transformer_);
  }
  KvGeometry Geometry(KvTarget target) const { return *MakeKvGeometry(config_, target, {5, 4}); }

  std::vector<int32_t> Tokens(int64_t count, uint64_t seed) const {
    std::mt19937_64 rng(seed);
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < count; ++i) {
      tokens.push_back(static_cast<int32_t>(rng() % static_cast<uint64_t>(config_.vocab)));
    }
    return tokens;
  }

  // A prompt's KV in BF16 pages.
  std::unique_ptr<KvSequence> Prefill(const std::vector<int32_t>& prompt) {
    const auto tokens = static_cast<int64_t>(prompt.size());
    auto kv = KvSequence::Create(Geometry(KvTarget::kBf16Whole), 0, tokens, {pool_.get()});
    REQUIRE(kv != nullptr);
    for (int64_t begin = 0; begin < tokens; begin += kRowsMax) {
      const PassRows rows{
          .tokens = std::span(prompt).subspan(
              static_cast<size_t>(begin), static_cast<size_t>(std::min(kRowsMax, tokens - begin))),
          .first_position = begin,
          .kv = kv.get()};
      transformer_->Forward(PassKind::kPrefill, std::span(&rows, 1));
    }
    return kv;
  }

  // The same as code of 8 bits, with room for more tokens.
  std::unique_ptr<KvSequence> Coded(KvSequence& plain, int64_t room) {
    const int64_t tokens = plain.total_tokens();
    auto kv = KvSequence::Create(Geometry(KvTarget::kInt8), tokens / kPageTokens, tokens + room,
                                 {pool_.get()});
    REQUIRE(kv != nullptr);
    FillTarget(plain, tokens, backend_->kv_ops(), kv.get());
    return kv;
  }

  // The logits of all rows, [rows, vocab].
  std::vector<float> Step(const std::vector<PassRows>& pass) { return Step(*transformer_, pass); }
  static std::vector<float> Step(Transformer& transformer, const std::vector<PassRows>& pass) {
    transformer.Forward(PassKind::kDecode, pass);
    size_t count = 0;
    for (const PassRows& part : pass) count += part.tokens.size();
    std::vector<int64_t> rows(count);
    std::iota(rows.begin(), rows.end(), 0);
    const float* logits = transformer.Logits(rows);
    return {logits, logits + count * static_cast<size_t>(transformer.vocab())};
  }

 private:
  const ModelConfig config_;
  std::unique_ptr<cuda::CudaBackend> backend_;
  std::unique_ptr<KvPool> pool_;
  std::unique_ptr<Transformer> transformer_;
};

inline LoadedModel LoadTinyModel(const char* name) {
  auto model = LoadModel(std::string(LYNX_TEST_DATA "/models/") + name);
  INFO(model.status());
  REQUIRE(model.ok());
  return *std::move(model);
}

inline bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace lynx::testing
