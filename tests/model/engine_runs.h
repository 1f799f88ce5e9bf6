// Drives model/cpu_transformer.h as tests need it: logits of whole texts, for any chunking, tier
// and number of threads; and prompts put into code pages.
#pragma once

#include <catch2/catch.hpp>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <vector>

#include "model/cpu_transformer.h"
#include "model/loader.h"
#include "runtime/cpu.h"

namespace lynx {

inline LoadedModel LoadForTest(const std::string& path) {
  auto model = LoadModel(path);
  if (!model.ok()) FAIL(model.status().message());
  return *std::move(model);
}

using LogitRows = std::vector<std::vector<float>>;  // [rows][vocab]

// One model on one tier. Not thread-safe.
class EngineRun {
 public:
  EngineRun(const ModelConfig& config, const Weights& weights, const Kernels& kernels, int threads,
            int64_t rows_max = 512)
      : config_(config),
        kernels_(kernels),
        threads_(threads),
        pool_(std::numeric_limits<size_t>::max() / 2),
        transformer_(config_, weights, kernels, threads_, rows_max) {
    SetExactFloatMode();
  }

  KvGeometry Geometry(KvTarget target, KvSplit split = {}) const {
    return {.layers = static_cast<int>(config_.layers),
            .shape = {static_cast<int>(config_.kv_heads), static_cast<int>(config_.head_dim)},
            .split = split,
            .target = target};
  }
  // A sequence of BF16 pages only.
  std::unique_ptr<KvSequence> Plain(int64_t tokens) {
    return KvSequence::Create(Geometry(KvTarget::kBf16Whole), 0, tokens, {&pool_});
  }

  // Runs `tokens`, whose first stands at `first`, `chunk` a pass; appends all logits to `out`
  // unless it is null.
  void Run(std::span<const int32_t> tokens, int64_t first, int64_t chunk, KvSequence* kv,
           KvView view, LogitRows* out) {
    for (int64_t begin = 0; begin < std::ssize(tokens); begin += chunk) {
      const int64_t count = std::min<int64_t>(chunk, std::ssize(tokens) - begin);
      const PassRows rows{tokens.subspan(begin, count), first + begin, kv, view};
      transformer_.Forward(PassKind::kDecode, std::span(&rows, 1));
      if (out != nullptr) TakeLogits(0, count, out);
    }
  }
  LogitRows Logits(std::span<const int32_t> tokens, int64_t chunk) {
    LogitRows out;
    Run(tokens, 0, chunk, Plain(std::ssize(tokens)).get(), KvView::kTarget, &out);
    return out;
  }

  // Rows [begin, end) of the last pass.
  void TakeLogits(int64_t begin, int64_t end, LogitRows* out) {
    for (; begin < end; begin += Transformer::kLogitRowsMax) {
      std::vector<int64_t> rows(std::min(end - begin, Transformer::kLogitRowsMax));
      std::iota(rows.begin(), rows.end(), begin);
      const float* logits = transformer_.Logits(rows);
      for (size_t i = 0; i < rows.size(); ++i, logits += config_.vocab) {
        out->emplace_back(logits, logits + config_.vocab);
      }
    }
  }

  // The first `pages` pages of `plain` as code, with room for `tokens` positions.
  std::unique_ptr<KvSequence> Coded(KvSequence* plain, int64_t pages, int64_t tokens,
                                    KvSplit split) {
    auto coded = KvSequence::Create(Geometry(KvTarget::kInt8, split), pages, tokens, {&pool_});
    const KvShape shape = coded->geometry().shape;
    for (int layer = 0; layer < config_.layers; ++layer) {
      PackTokens(shape, plain->Bf16Page(layer, 0), 0, kSinkTokens, coded->SinksBlock(layer));
      for (int64_t page = 0; page < pages; ++page) {
        REQUIRE(kernels_.split_page({.shape = shape,
                                     .split = split,
                                     .page = plain->Bf16Page(layer, page),
                                     .first_token = KvSequence::FirstToken(page),
                                     .anchor = coded->AnchorBlock(layer, page),
                                     .residual = coded->ResidualBlock(layer, page)}) ==
                SplitResult::kCode);
      }
    }
    return coded;
  }

  Transformer& transformer() { return transformer_; }

 private:
  const ModelConfig config_;
  const Kernels& kernels_;
  ThreadPool threads_;
  KvPool pool_;
  CpuTransformer transformer_;
};

}  // namespace lynx
