#include "model/cpu_transformer.h"

#include <algorithm>
#include <cmath>

#include "runtime/status.h"

namespace lynx {
namespace {

int64_t QkvColumns(const ModelConfig& c) { return (c.q_heads + 2 * c.kv_heads) * c.head_dim; }

}  // namespace

CpuTransformer::CpuTransformer(const ModelConfig& config, const Weights& weights,
                               const Kernels& kernels, ThreadPool& pool, int64_t rows_max)
    : config_(config),
      weights_(weights),
      kernels_(kernels),
      pool_(pool),
      rows_max_(rows_max),
      rope_(config),
      hidden_(rows_max * config.hidden),
      normed_(rows_max * config.hidden),
      qkv_(rows_max * QkvColumns(config)),
      attended_(rows_max * config.q_heads * config.head_dim),
      gate_up_(rows_max * 2 * config.intermediate),
      activated_(rows_max * config.intermediate),
      cos_sin_(rows_max * config.head_dim),
      logit_input_(kLogitRowsMax * config.hidden),
      logits_(kLogitRowsMax * config.vocab),
      embedding_(config.tied_embeddings ? config.hidden : 0) {}

void CpuTransformer::Forward(PassKind, std::span<const PassRows> pass, LayerHooks hooks) {
  Embed(pass);
  for (int layer = 0; layer < config_.layers; ++layer) {
    const LayerWeights& w = weights_.layers[layer];
    Norm(hidden_.data(), w.attention_norm.data(), rows_, normed_.data());
    const PackedMatrix qkv = w.qkv.view();
    Gemm(kernels_, pool_,
         {.a = normed_.data(),
          .lda = config_.hidden,
          .w = &qkv,
          .c = qkv_.data(),
          .ldc = QkvColumns(config_),
          .m = rows_,
          .bias = w.qkv_bias.empty() ? nullptr : w.qkv_bias.data()});
    RotateAndStore(layer, pass);
    hooks.queued(layer);
    hooks.done(layer);
    AttentionBlock(layer, pass);
    FeedForward(layer);
  }
}

void CpuTransformer::Embed(std::span<const PassRows> pass) {
  rows_ = 0;
  for (const PassRows& part : pass) {
    LYNX_CHECK(rows_ + static_cast<int64_t>(part.tokens.size()) <= rows_max_);
    for (size_t i = 0; i < part.tokens.size(); ++i, ++rows_) {
      LYNX_CHECK(part.tokens[i] >= 0 && part.tokens[i] < config_.vocab);
      kernels_.widen(Embedding(part.tokens[i]), config_.hidden,
                     hidden_.data() + rows_ * config_.hidden);
      rope_.CosSin(part.first_position + static_cast<int64_t>(i),
                   cos_sin_.data() + rows_ * config_.head_dim);
    }
  }
}

const bf16* CpuTransformer::Embedding(int32_t token) {
  if (!config_.tied_embeddings) {
    return weights_.token_embedding.data() + token * config_.hidden;
  }
  weights_.lm_head.GetRow(token, embedding_.data());
  return embedding_.data();
}

void CpuTransformer::Norm(const float* x, const float* weight, int64_t rows, bf16* out) {
  constexpr int64_t kRowsAJob = 8;
  pool_.ForEach((rows + kRowsAJob - 1) / kRowsAJob, [&](int64_t job) {
    for (int64_t r = job * kRowsAJob; r < std::min(rows, (job + 1) * kRowsAJob); ++r) {
      kernels_.rms_norm(x + r * config_.hidden, weight, config_.rms_eps, config_.hidden,
                        out + r * config_.hidden);
    }
  });
}

void CpuTransformer::RotateAndStore(int layer, std::span<const PassRows> pass) {
  const int64_t columns = QkvColumns(config_);
  const int64_t k_offset = config_.q_heads * config_.head_dim;
  const int64_t v_offset = k_offset + config_.kv_heads * config_.head_dim;
  int64_t base = 0;
  for (const PassRows& part : pass) {
    const int64_t count = static_cast<int64_t>(part.tokens.size());
    auto store = [&](int64_t i) {
      float* row = qkv_.data() + (base + i) * columns;
      // Q and K stand side by side: one call rotates both.
      kernels_.rope(row, config_.q_heads + config_.kv_heads, config_.head_dim,
                    cos_sin_.data() + (base + i) * config_.head_dim);
      const int64_t position = part.first_position + i;
      kernels_.write_kv({.shape = part.kv->geometry().shape,
                         .k = row + k_offset,
                         .v = row + v_offset,
                         .page = part.kv->Bf16Page(layer, position / kPageTokens),
                         .token = static_cast<int>(position % kPageTokens)});
    };
    // Rows of one page share cache lines: a job is a page's worth.
    const int64_t jobs = (count + kPageTokens - 1) / kPageTokens;
    pool_.ForEach(jobs, [&](int64_t job) {
      for (int64_t i = job * kPageTokens; i < std::min(count, (job + 1) * kPageTokens); ++i)
        store(i);
    });
    base += count;
  }
}

void CpuTransformer::AttentionBlock(int layer, std::span<const PassRows> pass) {
  const int64_t columns = QkvColumns(config_);
  attention_args_.clear();
  int64_t base = 0;
  for (const PassRows& part : pass) {
    const int64_t count = static_cast<int64_t>(part.tokens.size());
    const int64_t pages = (part.first_position + count + kPageTokens - 1) / kPageTokens;
    attention_args_.push_back(
        {.shape = part.kv->geometry().shape,
         .split = part.kv->geometry().split,
         .q_heads = static_cast<int>(config_.q_heads),
         .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(config_.head_dim))),
         .rows = count,
         .first_position = part.first_position,
         .q = qkv_.data() + base * columns,
         .q_stride = columns,
         .pages = part.kv->Pages(layer, part.view).first(pages),
         .sinks = part.kv->Sinks(layer),
         .out = attended_.data() + base * config_.q_heads * config_.head_dim});
    base += count;
  }
  Attention(kernels_, pool_, attention_args_);
  const PackedMatrix output = weights_.layers[layer].attention_output.view();
  Gemm(kernels_, pool_,
       {.a = attended_.data(),
        .lda = config_.q_heads * config_.head_dim,
        .w = &output,
        .c = hidden_.data(),
        .ldc = config_.hidden,
        .m = rows_,
        .accumulate = true});
}

void CpuTransformer::FeedForward(int layer) {
  const LayerWeights& w = weights_.layers[layer];
  Norm(hidden_.data(), w.ffn_norm.data(), rows_, normed_.data());
  const PackedMatrix gate_up = w.gate_up.view();
  Gemm(kernels_, pool_,
       {.a = normed_.data(),
        .lda = config_.hidden,
        .w = &gate_up,
        .c = gate_up_.data(),
        .ldc = 2 * config_.intermediate,
        .m = rows_});
  constexpr int64_t kRowsAJob = 8;
  pool_.ForEach((rows_ + kRowsAJob - 1) / kRowsAJob, [&](int64_t job) {
    for (int64_t r = job * kRowsAJob; r < std::min(rows_, (job + 1) * kRowsAJob); ++r) {
      const float* gate = gate_up_.data() + r * 2 * config_.intermediate;
      kernels_.silu_mul(gate, gate + config_.intermediate, config_.intermediate,
                        activated_.data() + r * config_.intermediate);
    }
  });
  const PackedMatrix down = w.down.view();
  Gemm(kernels_, pool_,
       {.a = activated_.data(),
        .lda = config_.intermediate,
        .w = &down,
        .c = hidden_.data(),
        .ldc = config_.hidden,
        .m = rows_,
        .accumulate = true});
}

const float* CpuTransformer::Logits(std::span<const int64_t> rows) {
  LYNX_CHECK(static_cast<int64_t>(rows.size()) <= kLogitRowsMax);
  for (size_t i = 0; i < rows.size(); ++i) {
    LYNX_CHECK(rows[i] >= 0 && rows[i] < rows_);
    std::copy_n(hidden_.data() + rows[i] * config_.hidden, config_.hidden,
                logit_input_.data() + i * config_.hidden);
  }
  const int64_t count = static_cast<int64_t>(rows.size());
  Norm(logit_input_.data(), weights_.final_norm.data(), count, normed_.data());
  const PackedMatrix head = weights_.lm_head.view();
  Gemm(kernels_, pool_,
       {.a = normed_.data(),
        .lda = config_.hidden,
        .w = &head,
        .c = logits_.data(),
        .ldc = config_.vocab,
        .m = count});
  return logits_.data();
}

}  // namespace lynx
