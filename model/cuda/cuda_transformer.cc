#include "model/cuda/cuda_transformer.h"

#include <algorithm>
#include <cmath>

#include "kernels/cuda/embed.h"
#include "kernels/cuda/rms_norm.h"
#include "kernels/cuda/rope.h"
#include "kernels/cuda/silu_mul.h"

namespace lynx::cuda {
namespace {

int64_t QkvColumns(const ModelConfig& c) { return (c.q_heads + 2 * c.kv_heads) * c.head_dim; }

}  // namespace

absl::StatusOr<std::unique_ptr<CudaTransformer>> CudaTransformer::Create(
    const ModelConfig& config, const DeviceWeights& weights, cudaStream_t stream,
    int64_t rows_max) {
  std::unique_ptr<CudaTransformer> transformer(
      new CudaTransformer(config, weights, stream, rows_max));
  RETURN_IF_ERROR(transformer->Allocate());
  return transformer;
}

absl::Status CudaTransformer::Allocate() {
  auto make = [](auto& buffer, int64_t count) -> absl::Status {
    ASSIGN_OR_RETURN(buffer,
                     std::remove_reference_t<decltype(buffer)>::Create(static_cast<size_t>(count)));
    return absl::OkStatus();
  };
  const ModelConfig& c = config_;
  RETURN_IF_ERROR(make(hidden_, rows_max_ * c.hidden));
  RETURN_IF_ERROR(make(normed_, std::max(rows_max_, kLogitRowsMax) * c.hidden));
  RETURN_IF_ERROR(make(qkv_, rows_max_ * QkvColumns(c)));
  RETURN_IF_ERROR(make(attended_, rows_max_ * c.q_heads * c.head_dim));
  RETURN_IF_ERROR(make(gate_up_, rows_max_ * 2 * c.intermediate));
  RETURN_IF_ERROR(make(activated_, rows_max_ * c.intermediate));
  RETURN_IF_ERROR(make(logit_rows_, kLogitRowsMax));
  RETURN_IF_ERROR(make(logits_, kLogitRowsMax * c.vocab));
  return make(host_logit_rows_, kLogitRowsMax);
}

size_t CudaTransformer::BytesNeeded(const ModelConfig& c, int64_t rows_max) {
  const int64_t row = 4 * c.hidden + 2 * c.hidden + 4 * QkvColumns(c) + 2 * c.q_heads * c.head_dim +
                      8 * c.intermediate + 2 * c.intermediate;
  return static_cast<size_t>(rows_max * row + kLogitRowsMax * c.vocab * 4);
}

void CudaTransformer::Forward(PassKind kind, std::span<const PassRows> pass, LayerHooks hooks) {
  LYNX_CHECK(!pass.empty());
  const StepInputs inputs = builder_.Build(kind, pass);
  LYNX_CHECK(inputs.rows <= rows_max_);
  kind_ = kind;
  rows_ = inputs.rows;
  Must(Embed({.table = weights_.token_embedding(),
              .tokens = inputs.tokens,
              .out = hidden_.data(),
              .rows = rows_,
              .hidden = config_.hidden},
             stream_),
       "embed");
  for (int i = 0; i < config_.layers; ++i) {
    const DeviceLayer& layer = weights_.layer(i);
    Norm(layer.attention_norm.data());
    Product(layer.qkv, normed_.data(), qkv_.data(), /*accumulate=*/false, rows_);
    Must(RopeWriteKv({.qkv = qkv_.data(),
                      .cos_sin = inputs.cos_sin,
                      .q = qkv_.data(),
                      .q_stride = QkvColumns(config_),
                      .token_in_page = inputs.token_in_page,
                      .pages = inputs.kv_pages + i * rows_,
                      .rows = rows_,
                      .q_heads = config_.q_heads,
                      .kv_heads = config_.kv_heads,
                      .head_dim = config_.head_dim},
                     stream_),
         "rotate and store");
    hooks.queued(i);
    Attend(i, pass[0], inputs);
    Product(layer.attention_output, attended_.data(), hidden_.data(), /*accumulate=*/true, rows_);
    FeedForward(layer);
  }
  for (int i = 0; i < config_.layers; ++i) hooks.done(i);
}

void CudaTransformer::Norm(const float* weight) {
  Must(RmsNorm({.x = hidden_.data(),
                .weight = weight,
                .out = normed_.data(),
                .rows = rows_,
                .hidden = config_.hidden,
                .eps = config_.rms_eps},
               stream_),
       "norm");
}

void CudaTransformer::Product(const Linear& linear, const bf16* a, float* c, bool accumulate,
                              int64_t rows) {
  Must(linear.Run(
      phase(),
      {.a = a, .lda = linear.k(), .c = c, .ldc = linear.n(), .m = rows, .accumulate = accumulate},
      stream_));
}

// Grows with the longest context so far: a few times in a server's life.
float* CudaTransformer::Partials(KvShape shape, int64_t items) {
  const size_t floats = AttentionPartialFloats(shape, static_cast<size_t>(items));
  if (partials_.size() < floats) {
    auto buffer = DeviceBuffer<float>::Create(2 * floats);
    Must(buffer.status());
    partials_ = std::move(*buffer);
  }
  return partials_.data();
}

// `any`: one of the pass' sequences, which are all of one geometry.
void CudaTransformer::Attend(int layer, const PassRows& any, const StepInputs& inputs) {
  const KvGeometry& geometry = any.kv->geometry();
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(config_.head_dim)));
  const int q_heads = static_cast<int>(config_.q_heads);
  const int64_t out_stride = config_.q_heads * config_.head_dim;
  if (kind_ == PassKind::kPrefill) {
    return Must(PrefillAttention({.shape = geometry.shape,
                                  .q_heads = q_heads,
                                  .scale = scale,
                                  .layer = layer,
                                  .sequences = inputs.prefill_sequences,
                                  .sequence_count = inputs.sequence_count,
                                  .max_rows = inputs.max_rows,
                                  .q = qkv_.data(),
                                  .q_stride = QkvColumns(config_),
                                  .out = attended_.data(),
                                  .out_stride = out_stride},
                                 stream_),
                "prefill attention");
  }
  Must(Attention({.shape = geometry.shape,
                  .split = geometry.split,
                  .q_heads = q_heads,
                  .scale = scale,
                  .layer = layer,
                  .sequences = inputs.sequences,
                  .tiles = inputs.tiles,
                  .items = inputs.items,
                  .tile_count = inputs.tile_count,
                  .item_count = inputs.item_count,
                  .q = qkv_.data(),
                  .q_stride = QkvColumns(config_),
                  .partials = Partials(geometry.shape, inputs.item_count),
                  .out = attended_.data(),
                  .out_stride = out_stride},
                 stream_),
       "attention");
}

void CudaTransformer::FeedForward(const DeviceLayer& layer) {
  Norm(layer.ffn_norm.data());
  Product(layer.gate_up, normed_.data(), gate_up_.data(), /*accumulate=*/false, rows_);
  Must(SiluMul({.gate_up = gate_up_.data(),
                .out = activated_.data(),
                .rows = rows_,
                .columns = config_.intermediate},
               stream_),
       "silu");
  Product(layer.down, activated_.data(), hidden_.data(), /*accumulate=*/true, rows_);
}

const float* CudaTransformer::QueueLogits(const int32_t* rows, int64_t count) {
  LYNX_CHECK(count <= kLogitRowsMax);
  Must(RmsNorm({.x = hidden_.data(),
                .weight = weights_.final_norm(),
                .row_index = rows,
                .out = normed_.data(),
                .rows = count,
                .hidden = config_.hidden,
                .eps = config_.rms_eps},
               stream_),
       "norm");
  Product(weights_.lm_head(), normed_.data(), logits_.data(), /*accumulate=*/false, count);
  return logits_.data();
}

const float* CudaTransformer::Logits(std::span<const int64_t> rows) {
  LYNX_CHECK(static_cast<int64_t>(rows.size()) <= kLogitRowsMax);
  for (size_t i = 0; i < rows.size(); ++i) {
    LYNX_CHECK(rows[i] >= 0 && rows[i] < rows_);
    host_logit_rows_.data()[i] = static_cast<int32_t>(rows[i]);
  }
  if (host_logits_.size() == 0) {
    auto buffer = PinnedBuffer<float>::Create(static_cast<size_t>(kLogitRowsMax * config_.vocab));
    Must(buffer.status());
    host_logits_ = std::move(*buffer);
  }
  Must(cudaMemcpyAsync(logit_rows_.data(), host_logit_rows_.data(), rows.size() * sizeof(int32_t),
                       cudaMemcpyHostToDevice, stream_),
       "cannot copy to the device");
  const float* logits = QueueLogits(logit_rows_.data(), static_cast<int64_t>(rows.size()));
  Must(cudaMemcpyAsync(host_logits_.data(), logits,
                       rows.size() * static_cast<size_t>(config_.vocab) * sizeof(float),
                       cudaMemcpyDeviceToHost, stream_),
       "cannot copy logits to the host");
  Must(cudaStreamSynchronize(stream_), "the device failed");
  return host_logits_.data();
}

}  // namespace lynx::cuda
