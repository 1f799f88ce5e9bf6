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

size_t PartialFloats(const ModelConfig& c, const PassLimits& limits) {
  const KvShape shape{static_cast<int>(c.kv_heads), static_cast<int>(c.head_dim)};
  return AttentionPartialFloats(shape, static_cast<size_t>(limits.launch_items));
}

float ScaleOf(const ModelConfig& c) {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(c.head_dim)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<CudaTransformer>> CudaTransformer::Create(
    const ModelConfig& config, const DeviceWeights& weights, cudaStream_t stream,
    const PassLimits& limits, int64_t graphs_max) {
  std::unique_ptr<CudaTransformer> transformer(
      new CudaTransformer(config, weights, stream, limits, graphs_max));
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
  const int64_t rows = limits_.rows;
  ASSIGN_OR_RETURN(builder_, StepInputBuilder::Create(config_, limits_, stream_));
  RETURN_IF_ERROR(make(hidden_, rows * c.hidden));
  RETURN_IF_ERROR(make(normed_, std::max(rows, kLogitRowsMax) * c.hidden));
  RETURN_IF_ERROR(make(qkv_, rows * QkvColumns(c)));
  RETURN_IF_ERROR(make(attended_, rows * c.q_heads * c.head_dim));
  RETURN_IF_ERROR(make(gate_up_, rows * 2 * c.intermediate));
  RETURN_IF_ERROR(make(activated_, rows * c.intermediate));
  RETURN_IF_ERROR(make(partials_, static_cast<int64_t>(PartialFloats(c, limits_))));
  RETURN_IF_ERROR(make(logit_rows_, kLogitRowsMax));
  RETURN_IF_ERROR(make(logits_, kLogitRowsMax * c.vocab));
  return make(host_logit_rows_, kLogitRowsMax);
}

size_t CudaTransformer::BytesNeeded(const ModelConfig& c, const PassLimits& limits) {
  const int64_t row = 4 * c.hidden + 4 * QkvColumns(c) + 2 * c.q_heads * c.head_dim +
                      8 * c.intermediate + 2 * c.intermediate;
  const int64_t normed = 2 * std::max(limits.rows, kLogitRowsMax) * c.hidden;
  const int64_t logits = 4 * kLogitRowsMax * (c.vocab + 1);
  return static_cast<size_t>(limits.rows * row + normed + logits) +
         PartialFloats(c, limits) * sizeof(float) + StepInputBuilder::BytesNeeded(c, limits);
}

void CudaTransformer::Forward(PassKind kind, std::span<const PassRows> pass, LayerHooks hooks) {
  LYNX_CHECK(!pass.empty());
  const StepInputs inputs = builder_->Build(kind, pass);
  kind_ = kind;
  rows_ = inputs.rows;
  const KvGeometry& geometry = pass[0].kv->geometry();  // of all of the pass' sequences
  if (kind == PassKind::kPrefill) {
    QueueLayers(geometry, inputs, hooks.queued);
  } else {
    // As one piece: whoever hooks in finds all layers written.
    QueueDecode(geometry, inputs);
    for (int i = 0; i < config_.layers; ++i) hooks.queued(i);
  }
  for (int i = 0; i < config_.layers; ++i) hooks.done(i);
}

void CudaTransformer::QueueDecode(const KvGeometry& geometry, const StepInputs& inputs) {
  const auto queue = [&] { QueueLayers(geometry, inputs, &NoLayerHook); };
  // A pass of several launches of attention is so large that its launches cost nothing.
  if (inputs.parts.size() > 1) return queue();
  graphs_.Run({.rows = inputs.rows,
               .sequences = inputs.sequence_count,
               .tiles = inputs.tile_count,
               .items = inputs.item_count,
               .shape = geometry.shape,
               .split = geometry.split},
              queue);
}

void CudaTransformer::QueueLayers(const KvGeometry& geometry, const StepInputs& inputs,
                                  absl::FunctionRef<void(int layer)> queued) {
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
                      .places = inputs.places,
                      .layer = i,
                      .rows = rows_,
                      .q_heads = config_.q_heads,
                      .kv_heads = config_.kv_heads,
                      .head_dim = config_.head_dim},
                     stream_),
         "rotate and store");
    queued(i);
    if (kind_ == PassKind::kPrefill) {
      AttendPrefill(i, geometry, inputs);
    } else {
      Attend(i, geometry, inputs);
    }
    Product(layer.attention_output, attended_.data(), hidden_.data(), /*accumulate=*/true, rows_);
    FeedForward(layer);
  }
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

void CudaTransformer::AttendPrefill(int layer, const KvGeometry& geometry,
                                    const StepInputs& inputs) {
  Must(PrefillAttention({.shape = geometry.shape,
                         .q_heads = static_cast<int>(config_.q_heads),
                         .scale = ScaleOf(config_),
                         .layer = layer,
                         .sequences = inputs.prefill_sequences,
                         .sequence_count = inputs.sequence_count,
                         .max_rows = inputs.max_rows,
                         .q = qkv_.data(),
                         .q_stride = QkvColumns(config_),
                         .out = attended_.data(),
                         .out_stride = config_.q_heads * config_.head_dim},
                        stream_),
       "prefill attention");
}

void CudaTransformer::Attend(int layer, const KvGeometry& geometry, const StepInputs& inputs) {
  AttentionParams params{.shape = geometry.shape,
                         .split = geometry.split,
                         .q_heads = static_cast<int>(config_.q_heads),
                         .scale = ScaleOf(config_),
                         .layer = layer,
                         .sequences = inputs.sequences,
                         .q = qkv_.data(),
                         .q_stride = QkvColumns(config_),
                         .partials = partials_.data(),
                         .out = attended_.data(),
                         .out_stride = config_.q_heads * config_.head_dim};
  for (const AttentionPart& part : inputs.parts) {
    params.tiles = inputs.tiles + part.tile_begin;
    params.items = inputs.items + part.item_begin;
    params.tile_count = part.tile_count;
    params.item_count = part.item_count;
    Must(Attention(params, stream_), "attention");
  }
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
