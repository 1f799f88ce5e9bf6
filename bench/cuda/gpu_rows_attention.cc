// Attention of decoding and verification over pages of every kind. Each sequence has pages of its
// own.
#include <algorithm>

#include "bench/cuda/gpu_pages.h"
#include "kernels/cuda/attention.h"

namespace lynx::bench {
namespace {

using cuda::DeviceBuffer;
using cuda::ToStatus;

struct Case {
  int64_t context;  // tokens, the rows' own included
  int64_t sequences;
  int32_t rows;  // of each sequence, at its end
};

struct Model {
  KvShape shape;
  int q_heads;
  std::vector<Case> cases;
};
const Model kModel = {{8, 128},
                      32,
                      {{1024, 1, 1},
                       {1024, 32, 1},
                       {8192, 1, 1},
                       {8192, 8, 1},
                       {8192, 32, 1},
                       {8192, 1, 8},
                       {8192, 1, 65},
                       {32768, 1, 1},
                       {32768, 8, 1},
                       {131072, 1, 1},
                       {131072, 2, 1}}};
const Model kTiny = {{1, 64}, 2, {{130, 1, 1}, {130, 2, 3}}};

int64_t PagesOf(const Case& c) { return (c.context + kPageTokens - 1) / kPageTokens; }

const char* NameOf(KvPageKind kind) {
  if (kind == KvPageKind::kBf16) return "attn_bf16";
  return kind == KvPageKind::kAnchor ? "attn_anchor" : "attn_full";
}

// What one case has on the device besides pages.
struct Step {
  cuda::AttentionPlan plan;
  DeviceBuffer<cuda::PageRef> refs;
  DeviceBuffer<std::byte> sink_tokens;
  DeviceBuffer<const std::byte*> sinks;
  DeviceBuffer<cuda::AttentionSequence> sequences;
  DeviceBuffer<cuda::AttentionTile> tiles;
  DeviceBuffer<cuda::AttentionItem> items;
  DeviceBuffer<float> q, partials;
  DeviceBuffer<bf16> out;
};

// Pages of `refs` in order, so many for each sequence.
absl::Status DescribeSequences(const Case& c, cudaStream_t stream, Step& step) {
  std::vector<cuda::AttentionSequence> sequences;
  for (int64_t i = 0; i < c.sequences; ++i) {
    sequences.push_back({.pages = step.refs.data() + i * PagesOf(c),
                         .sinks = step.sinks.data(),
                         .page_stride = PagesOf(c),
                         .first_position = c.context - c.rows,
                         .row_begin = static_cast<int32_t>(i) * c.rows,
                         .rows = c.rows});
  }
  ASSIGN_OR_RETURN(step.sequences, OnDevice(sequences, stream));
  return absl::OkStatus();
}

absl::StatusOr<Step> MakeStep(const Model& model, const Case& c, const GpuPages& pages,
                              KvPageKind kind, cudaStream_t stream) {
  Step step;
  const std::vector<cuda::AttentionRows> rows(
      static_cast<size_t>(c.sequences), {.first_position = c.context - c.rows, .rows = c.rows});
  cuda::PlanAttention(rows, model.q_heads, model.shape.kv_heads, 0, &step.plan);
  ASSIGN_OR_RETURN(step.refs, OnDevice(pages.Refs(kind), stream));
  ASSIGN_OR_RETURN(step.sink_tokens,
                   DeviceBuffer<std::byte>::Create(PackedTokenBytes(model.shape) * kSinkTokens));
  RETURN_IF_ERROR(ToStatus(
      cudaMemsetAsync(step.sink_tokens.data(), 0, step.sink_tokens.bytes(), stream), "a memset"));
  ASSIGN_OR_RETURN(step.sinks,
                   OnDevice(std::vector<const std::byte*>{step.sink_tokens.data()}, stream));
  RETURN_IF_ERROR(DescribeSequences(c, stream, step));
  ASSIGN_OR_RETURN(step.tiles, OnDevice(step.plan.tiles, stream));
  ASSIGN_OR_RETURN(step.items, OnDevice(step.plan.items, stream));
  const int64_t values = c.sequences * c.rows * model.q_heads * model.shape.head_dim;
  ASSIGN_OR_RETURN(step.q, RandomFloats(values, stream));
  ASSIGN_OR_RETURN(step.out, DeviceBuffer<bf16>::Create(static_cast<size_t>(values)));
  ASSIGN_OR_RETURN(step.partials, DeviceBuffer<float>::Create(cuda::AttentionPartialFloats(
                                      model.shape, step.plan.items.size())));
  return step;
}

cuda::AttentionParams ParamsOf(const Model& model, const GpuPages& pages, const Step& step) {
  const int64_t width = int64_t{model.q_heads} * model.shape.head_dim;
  return {.shape = model.shape,
          .split = pages.split(),
          .q_heads = model.q_heads,
          .scale = 0.125f,
          .sequences = step.sequences.data(),
          .tiles = step.tiles.data(),
          .items = step.items.data(),
          .tile_count = std::ssize(step.plan.tiles),
          .item_count = std::ssize(step.plan.items),
          .q = step.q.data(),
          .q_stride = width,
          .partials = step.partials.data(),
          .out = step.out.data(),
          .out_stride = width};
}

// Bytes: the pages once, queries and results. Operations: two multiply-adds for each query head,
// channel and position that a row sees.
absl::Status AddCase(GpuBench& bench, const Model& model, const Case& c, const GpuPages& pages,
                     KvPageKind kind) {
  if (!bench.Wants(NameOf(kind))) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Step step, MakeStep(model, c, pages, kind, bench.stream()));
  const cuda::AttentionParams params = ParamsOf(model, pages, step);
  const auto width = static_cast<double>(params.q_stride);
  const auto rows = static_cast<double>(c.sequences * c.rows);
  const double seen = rows * (static_cast<double>(c.context) - (c.rows - 1) / 2.0);
  const double bytes =
      static_cast<double>(pages.count()) * pages.PageBytes(kind) + 6 * rows * width;
  return bench.Add(
      NameOf(kind),
      absl::StrCat("context=", c.context, " sequences=", c.sequences, " rows=", c.rows), bytes,
      4 * seen * width,
      [&] { return ToStatus(cuda::Attention(params, bench.stream()), "attention"); });
}

}  // namespace

absl::Status AddAttentionRows(GpuBench& bench) {
  const Model& model = bench.tiny() ? kTiny : kModel;
  constexpr KvPageKind kKinds[] = {KvPageKind::kBf16, KvPageKind::kFull, KvPageKind::kAnchor};
  if (std::none_of(std::begin(kKinds), std::end(kKinds),
                   [&](KvPageKind kind) { return bench.Wants(NameOf(kind)); })) {
    return absl::OkStatus();
  }
  for (const Case& c : model.cases) {
    ASSIGN_OR_RETURN(
        const GpuPages pages,
        GpuPages::Create(model.shape, {}, c.sequences * PagesOf(c), /*code=*/true, bench.stream()));
    for (const KvPageKind kind : kKinds) {
      RETURN_IF_ERROR(AddCase(bench, model, c, pages, kind));
    }
  }
  return absl::OkStatus();
}

}  // namespace lynx::bench
